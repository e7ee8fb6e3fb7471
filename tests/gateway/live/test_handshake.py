"""Who may open a WebSocket, and how."""

from __future__ import annotations

from contextlib import ExitStack

import httpx
import pytest

from shared.audit import Filters, list_records
from shared.database import transaction
from tests.gateway.live.raw_client import RawClient
from tests.swarm import CLOSE, TEXT, client_frame
from tests.system import wait_until


def status(head: str) -> int:
    return int(head.split(" ")[1])


def session_cookie(gateway, company, name):
    with httpx.Client(base_url=gateway.base_url) as browser:
        answer = browser.post("/api/session/", headers=company.bearer(name))
        assert answer.status_code < 300, answer.text
        return f"stagebloom_session={browser.cookies['stagebloom_session']}"


def test_a_page_of_our_own_connects_with_its_cookie(gateway, company):
    company.person("42")
    cookie = session_cookie(gateway, company, "42")
    with RawClient(gateway.port) as client:
        assert status(client.upgrade(Cookie=cookie)) == 101
        assert client.wait_for("connected")["user"]["id"] == "42"


def test_a_foreign_page_is_refused_even_with_a_cookie(gateway, company):
    company.person("42")
    cookie = session_cookie(gateway, company, "42")
    answer = httpx.get(
        f"{gateway.base_url}/ws/notifications/",
        headers={**upgrade_headers(), "Origin": "https://evil.example", "Cookie": cookie},
    )
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "forbidden"


def test_of_a_page_that_may_connect_but_is_not_ours_a_cookie_proves_nothing(start_gateway, company):
    friend, proxied = {"Origin": "https://friend.example"}, {"Origin": "https://notes.example"}
    gateway = start_gateway(
        ALLOWED_ORIGINS=friend["Origin"],
        PUBLIC_URL=proxied["Origin"],
        limits={"authenticate_seconds": 0.3, "sweep_seconds": 0.05},
    )
    company.person("42")
    token, cookie = company.token("42"), {"Cookie": session_cookie(gateway, company, "42")}
    with RawClient(gateway.port) as client:
        assert status(client.ask({"Host": "a", **upgrade_headers(), **friend, **cookie})) == 101
        assert client.wait_closed() == 4500
    message = client_frame(TEXT, b'{"type":"authenticate","token":"%s"}' % token.encode())
    for proof, behind in (
        (proxied | cookie, b""),
        (friend | {"Authorization": f"Bearer {token}"}, b""),
        (friend | cookie, message),
    ):
        with RawClient(gateway.port) as client:
            client.ask({"Host": "a", **upgrade_headers(), **proof}, behind=behind)
            assert client.wait_for("connected")["user"]["id"] == "42"


def test_without_an_origin_a_cookie_proves_nothing(start_gateway, company):
    gateway = start_gateway(limits={"authenticate_seconds": 0.3, "sweep_seconds": 0.05})
    company.person("42")
    cookie = session_cookie(gateway, company, "42")
    with gateway.connect(headers={"Cookie": cookie}) as client:
        assert client.wait_closed() == 4500


def test_a_bad_bearer_token_is_refused_before_the_handshake(gateway):
    answer = httpx.get(
        f"{gateway.base_url}/ws/notifications/",
        headers={**upgrade_headers(), "Authorization": "Bearer abc"},
    )
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("missing", ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_a_request_that_is_no_handshake_is_refused_in_json(gateway, missing):
    headers = upgrade_headers()
    headers[missing] = "x"
    answer = httpx.get(f"{gateway.base_url}/ws/notifications/", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"]
    assert "Traceback" not in gateway.log()


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        *(("Origin", value, 403) for value in ("http://[bad", "http://a]b", "http://[", "null")),
        *(("Host", value, 400) for value in ("xn--zzzz--", "a" * 64, "\u00e9..b")),
        ("Connection", "Upgrade, \u00e9", 101),
    ],
)
def test_a_header_that_can_not_be_read_is_no_traceback(gateway, header, value, expected):
    with RawClient(gateway.port) as client:
        assert status(client.ask({"Host": "a", **upgrade_headers(), header: value})) == expected
    assert "Traceback" not in gateway.log()


def test_compression_is_offered_and_not_accepted(gateway, company):
    company.person("42")
    with RawClient(gateway.port) as client:
        head = client.upgrade(company.token("42"))
    assert status(head) == 101
    assert "sec-websocket-extensions" not in head.lower()


def test_a_token_or_ticket_as_first_message_authenticates(gateway, company):
    company.person("42")
    with gateway.connect() as client:
        client.send(type="authenticate", token=company.token("42"))
        assert client.wait_for("connected")["user"]["id"] == "42"
    answer = httpx.post(f"{gateway.base_url}/api/notifications/ticket/", headers=company.bearer("42"))
    ticket = answer.json()["ticket"]
    with gateway.connect() as client, gateway.connect() as thief:
        client.send(type="authenticate", ticket=ticket)
        assert client.wait_for("connected")["user"]["id"] == "42"
        thief.send(type="authenticate", ticket=ticket)
        assert thief.wait_closed() == 4501


def test_frames_in_one_packet_with_the_handshake_are_not_lost(gateway, company):
    company.person("42")
    message = b'{"type":"authenticate","token":"%s"}' % company.token("42").encode()
    with RawClient(gateway.port) as client:
        client.upgrade(behind=client_frame(TEXT, message))
        assert client.wait_for("connected")["user"]["id"] == "42"


def test_a_forged_token_and_an_unknown_person_are_closed_for_good(gateway, company):
    for token in ("forged", company.token("nobody")):
        with gateway.connect() as client:
            client.send(type="authenticate", token=token)
            assert client.wait_closed() == 4501


def test_a_service_is_told_that_sockets_are_for_people(gateway, company):
    headers = company.service("billing")
    answer = httpx.get(f"{gateway.base_url}/ws/notifications/", headers={**upgrade_headers(), **headers})
    assert (answer.status_code, answer.json()["error"]["details"]) == (403, {"reason": "person_needed"})
    with gateway.connect() as client:
        client.send(type="authenticate", token=headers["Authorization"].removeprefix("Bearer "))
        assert client.wait_closed() == 4501


def test_whoever_says_nothing_is_closed(start_gateway, company):
    gateway = start_gateway(limits={"authenticate_seconds": 0.3, "sweep_seconds": 0.05})
    with gateway.connect() as client:
        assert client.wait_closed() == 4500
    wait_until(lambda: gateway.counts()["unauthenticated"] == 0, "it is forgotten")


def test_sockets_are_capped_before_the_handshake(start_gateway, company):
    gateway = start_gateway(MAX_SOCKETS="3", MAX_UNAUTHENTICATED_PER_ADDRESS="2")
    company.person("42")
    with gateway.connect(), gateway.connect(), RawClient(gateway.port) as third:
        assert status(third.upgrade()) == 503
        with gateway.connect(company.token("42")), RawClient(gateway.port) as fourth:
            assert status(fourth.upgrade(company.token("42"))) == 503


def test_nobody_takes_the_place_of_everyone(start_gateway, company, settings):
    gateway = start_gateway(MAX_SOCKETS_PER_PERSON="2", FLUSH_SECONDS="3600")
    company.people(["42", "43"])
    token = company.token("42")
    with gateway.connect(token), gateway.connect() as newest:
        with gateway.connect(token):
            newest.send(type="authenticate", token=token)
            assert newest.wait_closed() == 4505
            gateway.connect(company.token("43")).close()  # each of these was greeted
        wait_until(lambda: gateway.counts()["connections"] == 1, "a place is free")
        gateway.connect(token).close()
    gateway.terminate()
    with transaction(settings) as session:
        (refused,) = list_records(session, Filters(action="rate.limited"), 10)[0]
    assert (refused.actor, refused.target) == ("user_42", "WebSocket /ws/notifications/")
    assert refused.details == {"reason": "sockets", "count": 1}


def test_those_who_come_together_are_counted_too(start_gateway, company):
    gateway = start_gateway(MAX_SOCKETS_PER_PERSON="3", limits={"welcome_seconds": 0.5})
    company.person("42")
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(gateway.port)) for _ in range(8)]
        for client in clients:
            client.upgrade(company.token("42"))
        assert [client.frame()[0] for client in clients] == [TEXT] * 3 + [CLOSE] * 5


def test_plain_http_answers_while_sockets_are_parked(gateway, company):
    names = [str(n) for n in range(300)]
    company.people(names)
    clients = [RawClient(gateway.port) for _ in names]
    try:
        for name, client in zip(names, clients, strict=True):
            client.upgrade(company.token(name))
        for client in clients:
            client.wait_for("connected")
        answer = httpx.get(f"{gateway.base_url}/healthz", timeout=2)
        assert answer.status_code == 200
        assert gateway.counts()["connections"] == 300
    finally:
        for client in clients:
            client.sock.close()


def upgrade_headers():
    return {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
