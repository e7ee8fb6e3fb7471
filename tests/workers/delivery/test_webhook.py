"""Processed events at a real HTTP server: signed, in order, and never to an inner network by accident."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from shared.database import transaction
from shared.deliveries import replay_failed
from shared.events import EventDraft, record_event
from shared.settings import Settings
from tests.certificates import make_certificate
from tests.company import Company
from tests.http_receiver import MOST_BYTES, Receiver
from tests.mail_server import free_port
from tests.workers.delivery.conftest import SECRET, Rows, let_time_pass
from workers import tasks
from workers.delivery import checked_http, claiming

STATUSES = (
    "SELECT event_id, status, reason, attempts, error FROM deliveries WHERE channel = 'webhook' ORDER BY event_id"
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@pytest.fixture
def hooked(configure: Callable[..., Settings], receiver: Receiver, company: Company) -> Settings:
    """Settings that tell the receiver of the test; three people of role rh."""
    company.people(["1", "2", "3"], "role_rh")
    return configure(
        webhook_url=f"http://127.0.0.1:{receiver.port}/hook?a=1", webhook_secret=SECRET, webhook_allow_private=True
    )


def record(settings: Settings, *audience: str, **draft: Any) -> int:
    with transaction(settings) as session:
        values = {"title": "Réunion", "message": "À 9 h", "audience": list(audience) or ["role_rh"], **draft}
        return record_event(session, EventDraft(**values), settings).id


def now_and(**later: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(**later), usegmt=True)


def send(settings: Settings) -> None:
    let_time_pass(settings)
    tasks.send_webhooks()


def test_every_processed_event_arrives_once_signed_the_standard_way(
    hooked: Settings, receiver: Receiver, rows: Rows
) -> None:
    event_id = record(hooked, data={"stage_id": 3})
    send(hooked)
    assert receiver.requests == []  # not processed yet
    tasks.process_event()
    send(hooked)
    send(hooked)
    assert receiver.paths == ["/hook?a=1"]
    headers, body = receiver.requests[0]
    seen = Webhook(SECRET).verify(body, headers)
    assert (seen["type"], seen["data"]["id"], seen["data"]["data"]) == (
        "notification_event.processed",
        event_id,
        {"stage_id": 3},
    )
    assert seen["data"]["texts"] == {"fr": {"title": "Réunion", "message": "À 9 h"}}
    assert headers["webhook-id"] == f"msg_{event_id}"
    assert rows(STATUSES)[0].status == "sent"


def test_it_says_how_many_were_reached_and_not_who(hooked: Settings, receiver: Receiver, rows: Rows) -> None:
    rows("UPDATE users SET name = 'Zoé Secret', email = 'zoe@secret.example'")
    record(hooked, "role_rh & user_1", "user_2")
    tasks.process_event()
    send(hooked)
    content = receiver.requests[0][1].decode()
    data = json.loads(content)["data"]
    assert data["recipients"] == {"count": 2}
    assert data["audience"] == [["role_rh", "user_*"], ["user_*"]]
    assert "Secret" not in content
    assert "secret.example" not in content


def test_an_event_for_nobody_and_a_large_one_arrive_too(company: Company, hooked: Settings, receiver: Receiver) -> None:
    company.people([f"n{n}" for n in range(1200)], "role_all")
    company.groups("stage_9")
    expected = [record(hooked, "role_all"), record(hooked, "stage_9")]
    tasks.process_event()
    tasks.plan_bulk()
    tasks.store_batches()
    send(hooked)
    assert sorted(receiver.event_ids) == expected


def test_without_an_address_nothing_is_kept(configure: Callable[..., Settings], company: Company) -> None:
    company.person("1", "role_rh")
    record(configure())
    tasks.process_event()
    tasks.send_webhooks()
    assert company.count("deliveries") == 0


def test_an_undelivered_event_holds_back_the_next(hooked: Settings, receiver: Receiver, rows: Rows) -> None:
    receiver.answers = [500, 503]
    first, second, third = (record(hooked) for _ in range(3))
    tasks.process_event()
    send(hooked)
    assert receiver.event_ids == [first]
    tasks.send_webhooks()  # the first still waits, and with it the others
    assert receiver.event_ids == [first]
    send(hooked)
    send(hooked)
    assert receiver.event_ids == [first, first, first, second, third]
    assert [(row.status, row.attempts) for row in rows(STATUSES)] == [("sent", 3), ("sent", 1), ("sent", 1)]
    assert {headers["webhook-id"] for headers, _ in receiver.requests[:3]} == {f"msg_{first}"}


def test_after_the_last_try_the_next_goes_on(hooked: Settings, receiver: Receiver, rows: Rows) -> None:
    receiver.answers = [500] * 8
    first, second = record(hooked), record(hooked)
    tasks.process_event()
    for _ in range(8):
        send(hooked)
    assert receiver.event_ids == [first] * 8 + [second]
    failed = rows(STATUSES)[0]
    assert (failed.status, failed.reason, failed.attempts, failed.error) == (
        "failed",
        "tried_too_often",
        8,
        "500 because",
    )


def test_an_event_waits_for_an_older_one_that_is_being_processed(
    hooked: Settings, receiver: Receiver, rows: Rows
) -> None:
    older, newer = record(hooked), record(hooked)
    rows(
        "UPDATE notification_events SET status = 'processed', processed_at = now(), recipient_count = 3 WHERE id = :id",
        id=newer,
    )
    rows("INSERT INTO deliveries (event_id, channel) VALUES (:id, 'webhook')", id=newer)
    send(hooked)
    assert receiver.event_ids == []
    tasks.process_event()
    send(hooked)
    assert receiver.event_ids == [older, newer]


def test_one_that_somebody_is_sending_is_not_overtaken(hooked: Settings, receiver: Receiver, rows: Rows) -> None:
    first, second = record(hooked), record(hooked)
    tasks.process_event()
    rows(
        "UPDATE deliveries SET status = 'sending', claimed_at = now(), next_attempt_at = now() + interval '1 minute' WHERE event_id = :id",
        id=first,
    )
    tasks.send_webhooks()
    assert receiver.event_ids == []
    rows("UPDATE deliveries SET next_attempt_at = now()")
    tasks.send_webhooks()
    assert receiver.event_ids == [first, second]


def waits(rows: Rows) -> list[float]:
    """For how many seconds from now each waiting one is left alone."""
    return [
        float(row.seconds)
        for row in rows(
            "SELECT extract(epoch FROM next_attempt_at - now()) AS seconds FROM deliveries WHERE status = 'pending' ORDER BY event_id"
        )
    ]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("600", 600), ("864000", 3600), (lambda: now_and(minutes=20), 1200), (lambda: now_and(days=9), 3600)],
)
def test_a_receiver_that_asks_for_time_gets_it(
    hooked: Settings, receiver: Receiver, rows: Rows, status: int, asked: Any, seconds: float
) -> None:
    receiver.answers = [status]
    receiver.headers = {"Retry-After": asked if isinstance(asked, str) else asked()}
    first, second = record(hooked), record(hooked)
    tasks.process_event()
    tasks.send_webhooks()
    assert seconds - 5 < waits(rows)[0] <= seconds  # far above the 30 s at most that it would be left alone otherwise
    tasks.send_webhooks()
    assert receiver.event_ids == [first]  # and nothing overtakes
    send(hooked)
    assert receiver.event_ids == [first, first, second]
    assert [(row.status, row.attempts) for row in rows(STATUSES)] == [("sent", 2), ("sent", 1)]


@pytest.mark.parametrize(("status", "asked"), [(500, "600"), (404, "600"), (503, "soon"), (429, "-600")])
def test_what_asks_for_nothing_is_tried_again_as_usual(
    hooked: Settings, receiver: Receiver, rows: Rows, status: int, asked: str
) -> None:
    receiver.answers = [status]
    receiver.headers = {"Retry-After": asked}
    record(hooked)
    tasks.process_event()
    tasks.send_webhooks()
    assert waits(rows)[0] <= 30


def test_asking_for_little_time_does_not_shorten_the_usual_wait(
    hooked: Settings, receiver: Receiver, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "wait_seconds", lambda attempts: 25.0)
    receiver.answers = [503]
    receiver.headers = {"Retry-After": "1"}
    record(hooked)
    tasks.process_event()
    tasks.send_webhooks()
    assert 20 < waits(rows)[0] <= 25


def test_a_receiver_that_is_gone_gets_no_second_try_and_what_it_missed_can_be_replayed(
    hooked: Settings, receiver: Receiver, rows: Rows
) -> None:
    receiver.answers = [410]
    first, second = record(hooked), record(hooked)
    tasks.process_event()
    send(hooked)
    assert receiver.event_ids == [first, second]
    found = rows(STATUSES)[0]
    assert (found.status, found.reason, found.attempts, found.error) == ("failed", "gone", 1, "410 because")
    with transaction(hooked) as session:
        assert len(replay_failed(session, "webhook", first, 10)) == 1
    send(hooked)
    assert receiver.event_ids == [first, second, first]
    assert rows(STATUSES)[0].status == "sent"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(hooked: Settings, receiver: Receiver, rows: Rows, status: int) -> None:
    receiver.answers = [status]
    record(hooked)
    tasks.process_event()
    send(hooked)
    assert receiver.paths == ["/hook?a=1"]
    assert rows(STATUSES)[0].error == f"{status} because"


@pytest.mark.parametrize("behaviour", ["slow", "drip"])
def test_a_receiver_that_takes_its_time_is_left(
    hooked: Settings, receiver: Receiver, rows: Rows, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    if behaviour == "slow":
        monkeypatch.setattr(checked_http, "ANSWER_SECONDS", 0.3)
        receiver.pause_seconds = 1.5
    else:
        monkeypatch.setattr(checked_http, "TOTAL_SECONDS", 0.4)
        receiver.answers = ["drip"]
    record(hooked)
    tasks.process_event()
    began = time.monotonic()
    send(hooked)
    assert time.monotonic() - began < 1.4
    assert [(row.status, row.attempts) for row in rows(STATUSES)] == [("pending", 1)]


@pytest.mark.parametrize(
    ("answer", "status", "error"), [("flood 200", "sent", None), ("flood 500", "pending", "500 xxx")]
)
def test_of_gigabytes_only_the_beginning_is_read(
    hooked: Settings, receiver: Receiver, rows: Rows, answer: str, status: str, error: str | None
) -> None:
    receiver.answers = [answer]
    record(hooked)
    tasks.process_event()
    began = time.monotonic()
    send(hooked)
    assert time.monotonic() - began < 8  # far below what a silent one is given
    found = rows(STATUSES)[0]
    assert found.status == status
    assert found.error is None if error is None else found.error.startswith(error)
    assert receiver.flooded_bytes < MOST_BYTES / 4  # what the kernel holds for us unread


def test_a_success_whose_body_never_comes_is_one(hooked: Settings, receiver: Receiver, rows: Rows) -> None:
    receiver.answers = ["stall 200"]
    record(hooked)
    tasks.process_event()
    began = time.monotonic()
    send(hooked)
    assert time.monotonic() - began < 8  # far below what a silent one is given
    assert rows(STATUSES)[0].status == "sent"


def test_a_failure_whose_body_never_comes_says_what_it_said(
    hooked: Settings, receiver: Receiver, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_http, "TOTAL_SECONDS", 0.4)
    receiver.answers = ["stall 503"]
    receiver.headers = {"Retry-After": "600"}
    record(hooked)
    tasks.process_event()
    tasks.send_webhooks()
    assert rows(STATUSES)[0].error == "503"
    assert waits(rows)[0] > 500


def test_one_that_drips_behind_tls_is_left_too(
    company: Company, configure: Callable[..., Settings], rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.person("1", "role_rh")
    certificate = make_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(checked_http, "TOTAL_SECONDS", 0.4)
    with Receiver(tls) as receiver:
        receiver.answers = ["drip"]
        settings = configure(
            webhook_url=f"https://localhost:{receiver.port}/", webhook_secret=SECRET, webhook_allow_private=True
        )
        record(settings)
        tasks.process_event()
        began = time.monotonic()
        send(settings)
        assert time.monotonic() - began < 5  # it would go on for 10
        assert len(receiver.requests) == 1
    assert [(row.status, row.attempts) for row in rows(STATUSES)] == [("pending", 1)]


def test_nobody_there_is_tried_again(company: Company, configure: Callable[..., Settings], rows: Rows) -> None:
    company.person("1", "role_rh")
    settings = configure(
        webhook_url=f"http://127.0.0.1:{free_port()}/", webhook_secret=SECRET, webhook_allow_private=True
    )
    record(settings)
    tasks.process_event()
    send(settings)
    assert rows(STATUSES)[0].status == "pending"
    assert "refused" in rows(STATUSES)[0].error


# Every way to write it that the resolver understands: whole numbers, octal, hexadecimal, short.
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0.0.0.0", "2130706433", "0177.0.0.1", "017700000001", "0x7f000001", "0x7f.1", "127.1",
     "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]"],
)  # fmt: skip
def test_this_machine_is_refused_and_the_failure_kept(
    company: Company, configure: Callable[..., Settings], receiver: Receiver, rows: Rows, host: str
) -> None:
    company.person("1", "role_rh")
    settings = configure(webhook_url=f"http://{host}:{receiver.port}/", webhook_secret=SECRET)
    record(settings)
    tasks.process_event()
    send(settings)
    assert receiver.requests == []
    row = rows(STATUSES)[0]
    assert (row.status, row.reason) == ("failed", "private_address")
    assert "WEBHOOK_ALLOW_PRIVATE" in row.error


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "127.1.2.3", "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1",
     "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "fec0::1", "ff02::1", "::ffff:10.0.0.1", "::10.0.0.1", "::ffff:0:10.0.0.1",
     "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::1", "2001:0:a00:1::1", "2001:db8::1", "100::1", "4000::1"],
)  # fmt: skip
def test_what_is_not_public_is_known(address: str) -> None:
    assert not checked_http.is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_what_is_public_is_let_through(address: str) -> None:
    assert checked_http.is_public(address)


def test_of_a_name_with_several_addresses_only_public_ones_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ["10.0.0.1", "1.1.1.1", "::ffff:10.0.0.1", "1.1.1.1", "2606:4700::1", "1.0.0.1", "8.8.8.8"]

    def resolve(host: str, port: int, **_: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = checked_http.resolve("mixed.example", 443, allow_private=False)
    assert found == [("1.1.1.1", 443), ("2606:4700::1", 443), ("1.0.0.1", 443)]  # and so many at most
    addresses[:] = ["10.0.0.1", "fd00::1"]
    with pytest.raises(checked_http.PrivateAddress, match=r"mixed.example is at 10.0.0.1, fd00::1: not a public"):
        checked_http.resolve("mixed.example", 443, allow_private=False)


def test_a_proxy_of_the_environment_is_not_asked(
    hooked: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    event_id = record(hooked)
    tasks.process_event()
    send(hooked)
    assert receiver.event_ids == [event_id]


def test_a_receiver_that_does_not_begin_tls_is_left(
    company: Company, configure: Callable[..., Settings], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.person("1", "role_rh")
    monkeypatch.setattr(checked_http, "ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = configure(
            webhook_url=f"https://127.0.0.1:{silent.getsockname()[1]}/",
            webhook_secret=SECRET,
            webhook_allow_private=True,
        )
        record(settings)
        tasks.process_event()
        began = time.monotonic()
        send(settings)
        assert time.monotonic() - began < 5
    assert "timed out" in rows(STATUSES)[0].error


def test_a_name_that_changes_its_answer_gains_nothing(
    configure: Callable[..., Settings],
    company: Company,
    receiver: Receiver,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: public when it is checked, this machine when it is used."""
    company.person("1", "role_rh")
    answers = ["203.0.113.1", "127.0.0.1"]
    asked, connected = [], []
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        if host != "rebind.example":
            return real(host, port, *rest, **named)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[min(len(asked), 2) - 1], port))]

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(
        checked_http, "is_public", lambda address: address != "127.0.0.1"
    )  # 203.0.113.0/24 is for documentation
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(checked_http.socket, "create_connection", connect)
    with pytest.raises(ConnectionRefusedError):
        checked_http.post(f"http://rebind.example:{receiver.port}/", b"{}", {}, allow_private=False)
    assert (asked, connected) == (["rebind.example"], ["203.0.113.1"])


def test_the_certificate_must_carry_the_name_that_was_configured(
    company: Company, configure: Callable[..., Settings], rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to an address, the certificate is checked for the name."""
    company.person("1", "role_rh")
    certificate = make_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    with Receiver(tls) as receiver:
        settings = configure(
            webhook_url=f"https://localhost:{receiver.port}/", webhook_secret=SECRET, webhook_allow_private=True
        )
        event_id = record(settings)
        tasks.process_event()
        send(settings)
        assert "CERTIFICATE_VERIFY_FAILED" in rows(STATUSES)[0].error
        assert receiver.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        send(settings)
        assert receiver.event_ids == [event_id]
