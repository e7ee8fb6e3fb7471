"""Who was refused at a WebSocket stands in the audit log: before, in and after its first message, in bounded rows."""

from __future__ import annotations

import httpx

from gateway.refusals import MAX_ROWS
from shared.audit import Filters, list_records
from shared.database import transaction
from tests.gateway.live.raw_client import RawClient
from tests.gateway.live.test_handshake import status, upgrade_headers

HANDSHAKE, SAID = "GET /ws/notifications/", "WebSocket /ws/notifications/"
ONCE = {"FLUSH_SECONDS": "3600"}  # the gateway writes when it ends


def rows(gateway, settings):
    """What the gateway has written in the end."""
    gateway.terminate()
    with transaction(settings) as session:
        return list_records(session, Filters(), 100)[0]


def handshake(gateway, headers):
    """The answer to a handshake that is refused."""
    return httpx.get(f"{gateway.base_url}/ws/notifications/", headers={**upgrade_headers(), **headers}).status_code


def authenticate(gateway, **credential):
    """The code that a socket is closed with after this first message."""
    with gateway.connect() as client:
        client.send(type="authenticate", **credential)
        return client.wait_closed()


def test_each_kind_of_refusal_is_one_row_with_a_count_and_what_is_only_old_is_none(start_gateway, company, settings):
    gateway = start_gateway(MAX_UNAUTHENTICATED_PER_ADDRESS="1", **ONCE)
    company.person("eve", is_active=False)
    expired = company.token("eve", lifetime_seconds=-5)

    assert handshake(gateway, {"Authorization": "Bearer forged"}) == 401
    assert handshake(gateway, {"Authorization": f"Bearer {expired}"}) == 401
    assert handshake(gateway, {"Origin": "https://evil.example"}) == 403
    assert handshake(gateway, company.service("billing")) == 403
    with gateway.connect(), RawClient(gateway.port) as second:
        assert status(second.upgrade()) == 503

    assert [authenticate(gateway, token="forged") for _ in range(3)] == [4501] * 3
    assert authenticate(gateway, token=expired) == 4501
    assert authenticate(gateway, ticket="x" * 43) == 4501
    assert authenticate(gateway, token=company.token("ghost")) == 4501
    assert authenticate(gateway, token=company.token("eve")) == 4503
    with gateway.connect(headers=company.bearer("eve")) as client:  # the token is good, the person is not
        assert client.wait_closed() == 4503

    found = rows(gateway, settings)
    assert sorted(
        (row.target, row.action, row.actor, row.details["reason"], row.details["count"]) for row in found
    ) == [
        (HANDSHAKE, "credentials.refused", "nobody", "malformed", 1),
        (HANDSHAKE, "permission.refused", "nobody", "Origin: this page may not connect", 1),
        (HANDSHAKE, "permission.refused", "nobody", "person_needed", 1),
        (HANDSHAKE, "rate.limited", "nobody", "unauthenticated", 1),
        (SAID, "credentials.refused", "nobody", "malformed", 3),
        (SAID, "credentials.refused", "nobody", "ticket", 1),
        (SAID, "credentials.refused", "unknown person", "unknown_person", 1),
        (SAID, "credentials.refused", "user_eve", "deactivated", 2),
    ]
    assert {row.address for row in found} == {"127.0.0.1"}


def test_a_flood_of_strangers_is_a_bounded_number_of_rows(start_gateway, company, settings):
    gateway, strangers = start_gateway(**ONCE), 2 * MAX_ROWS
    for n in range(strangers):
        assert authenticate(gateway, token=company.token(f"ghost-{n}")) == 4501
    found = rows(gateway, settings)
    assert len(found) == MAX_ROWS + 1
    assert sum(row.details["count"] for row in found) == strangers
