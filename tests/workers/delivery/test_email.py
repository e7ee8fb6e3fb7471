"""Mails through a real SMTP server, its faults included: who gets one, who gets none, and never one too many."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from shared.database import transaction
from shared.settings import Settings
from tests.certificates import make_certificate
from tests.company import Company
from tests.mail_server import PASSWORD, USER, MailServer, free_port
from tests.workers.delivery.conftest import (
    SENDER,
    Rows,
    add_addresses,
    let_time_pass,
    plan,
    record_critical,
    send,
)
from workers import tasks
from workers.delivery import smtp
from workers.delivery.planning import plan_emails

# The password never leaves the machine.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

STATUSES = "SELECT external_id, status, reason, attempts, error FROM deliveries JOIN users ON users.id = recipient_id ORDER BY external_id"


@pytest.fixture
def people(company: Company, settings: Settings) -> Company:
    """Four people with an address."""
    company.people(["1", "2", "3", "4"], "role_rh")
    add_addresses(company, settings)
    return company


def statuses(rows: Rows) -> dict[str, str]:
    return {row.external_id: row.status for row in rows(STATUSES)}


def test_who_did_not_confirm_in_time_gets_one_mail(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    record_critical(mailing, "1", "2")
    assert people.count("deliveries") == 0  # there is still time
    tasks.send_emails()
    assert people.count("deliveries") == 0
    send(mailing)
    send(mailing)
    assert sorted(mail_server.recipients) == ["1@example.org", "2@example.org"]
    assert statuses(rows) == {"1": "sent", "2": "sent"}
    assert rows("SELECT provider_id FROM deliveries")[0].provider_id == "OK: queued as 42"
    assert people.count("delivery_plans") == 0


@pytest.mark.parametrize("column", ["delivered_at", "seen_at", "read_at", "deleted_at", "archived_at"])
def test_who_confirmed_gets_none(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows, column: str
) -> None:
    record_critical(mailing, "1", "2")
    rows(
        f"UPDATE notifications SET {column} = now() WHERE recipient_id = (SELECT id FROM users WHERE external_id = '1')"
    )
    send(mailing)
    assert mail_server.recipients == ["2@example.org"]
    assert statuses(rows) == {"2": "sent"}


def test_who_confirms_between_two_tries_gets_none(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    mail_server.answers["1@example.org"] = ["451 later"]
    record_critical(mailing, "1")
    send(mailing)
    assert statuses(rows) == {"1": "pending"}
    rows("UPDATE notifications SET seen_at = now()")
    send(mailing)
    assert [(row.status, row.reason) for row in rows(STATUSES)] == [("skipped", "confirmed")]
    assert mail_server.recipients == []


@pytest.mark.parametrize("priority", ["low", "normal", "high"])
def test_only_critical_events_are_mailed(people: Company, mailing: Settings, priority: str) -> None:
    record_critical(mailing, "1", priority=priority)
    assert people.count("delivery_plans") == 0


@pytest.mark.parametrize("change", [{"email_fallback": False}, {"smtp_url": None}])
def test_without_a_server_or_with_the_fallback_off_nothing_is_planned(
    people: Company, configure: Callable[..., Settings], mail_server: MailServer, change: dict[str, object]
) -> None:
    settings = configure(**{"smtp_url": f"smtp://127.0.0.1:{mail_server.port}", "email_from": SENDER, **change})
    record_critical(settings, "1")
    assert people.count("delivery_plans") == 0


def test_who_has_no_usable_address_is_skipped_with_the_reason(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    record_critical(mailing, "1", "2", "3", "4")
    rows(
        "UPDATE users SET email = CASE external_id WHEN '1' THEN NULL WHEN '2' THEN ' ' WHEN '3' THEN E'a@b.c\\nBcc: all@example.org' ELSE email END"
    )
    rows("UPDATE users SET is_active = false WHERE external_id = '4'")
    send(mailing)
    assert [(row.status, row.reason, row.attempts) for row in rows(STATUSES)] == [
        ("skipped", "no_address", 0), ("skipped", "no_address", 0), ("skipped", "bad_address", 0), ("skipped", "inactive", 0),
    ]  # fmt: skip
    assert mail_server.sessions == 0


@pytest.mark.parametrize("smtputf8", [False, True])
def test_no_title_name_or_address_adds_a_header_or_a_recipient(
    people: Company, configure: Callable[..., Settings], rows: Rows, smtputf8: bool
) -> None:
    hidden = "=?utf-8?q?Urgent=0d=0aReply-To:_attacker=40evil.example=0d=0aBcc:_all=40evil.example=0d=0a=0d=0aPay?="
    rows("UPDATE users SET name = :hidden", hidden=hidden)
    rows("UPDATE users SET email = 'élise@example.org' WHERE external_id = '1' AND :utf8", utf8=smtputf8)
    rows("UPDATE users SET email = '=?utf-8?q?x?=@b.example' WHERE external_id = '2'")
    with MailServer(smtputf8=smtputf8) as server:
        settings = configure(smtp_url=f"smtp://127.0.0.1:{server.port}", email_from=SENDER)
        record_critical(settings, "1", "2", title=hidden)
        send(settings)
    found = [(row.external_id, row.status, row.reason) for row in rows(STATUSES)]
    assert found == [("1", "sent", None), ("2", "skipped", "bad_address")]
    (raw,), (recipient,) = server.raw, server.recipients
    assert recipient == ("élise@example.org" if smtputf8 else "1@example.org")
    lines = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
    names = [line.partition(b":")[0].decode().lower() for line in lines if not line.startswith((b" ", b"\t"))]
    assert len(names) == len(set(names))
    assert not {"reply-to", "bcc", "cc"} & set(names)
    assert server.mails[0]["Subject"] == hidden
    assert [to.addr_spec for to in server.mails[0]["To"].addresses] == [recipient]


def test_a_large_audience_is_planned_in_one_statement_and_sent_over_few_sessions(
    company: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    names = [str(n) for n in range(120)]
    company.people(names, "role_rh")
    add_addresses(company, mailing)
    record_critical(mailing, audience=["role_rh"])
    let_time_pass(mailing)
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    with transaction(mailing) as session:
        event.listen(session.connection(), "before_cursor_execute", note)
        assert plan_emails(session) == (1, 120, 0)
    assert len(statements) == 1
    send(mailing)
    assert sorted(mail_server.recipients) == sorted(f"{name}@example.org" for name in names)
    assert mail_server.sessions < 12  # a few, not one a mail; a busy machine cuts turns short


def test_nobody_has_two_deliveries_of_an_event_by_a_channel_however_often_it_is_planned(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    event_id = record_critical(mailing, "1", "2")
    send(mailing)
    rows("INSERT INTO delivery_plans VALUES (:id, 0, 'email', now())", id=event_id)  # it comes again, whatever did that
    assert plan(mailing) == (1, 0, 0)
    send(mailing)
    assert sorted(mail_server.recipients) == ["1@example.org", "2@example.org"]
    rows("INSERT INTO deliveries (event_id, channel) VALUES (:id, 'webhook')", id=event_id)
    for again in (
        "SELECT event_id, recipient_id, channel FROM deliveries WHERE channel = 'email'",
        "SELECT event_id, NULL, 'webhook' FROM deliveries LIMIT 1",
    ):
        with pytest.raises(IntegrityError):
            rows(f"INSERT INTO deliveries (event_id, recipient_id, channel) {again}")


@pytest.mark.parametrize(("change", "seconds"), [({}, 60), ({"email_fallback_after_seconds": 7}, 7)])
def test_there_is_a_minute_to_confirm_unless_set_otherwise(
    people: Company,
    configure: Callable[..., Settings],
    mailing: Settings,
    rows: Rows,
    change: dict[str, int],
    seconds: int,
) -> None:
    configure(smtp_url=mailing.smtp_url, email_from=SENDER, **change)
    record_critical(mailing, "1")
    left = rows(
        "SELECT extract(epoch FROM due_at - stored_at) AS seconds FROM delivery_plans JOIN event_batches USING (event_id, n)"
    )
    assert seconds <= float(left[0].seconds) < seconds + 5


def test_a_mail_that_is_refused_for_good_fails_and_the_others_are_sent(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    mail_server.answers["2@example.org"] = ["550 5.1.1 no such person"]
    record_critical(mailing, "1", "2", "3")
    send(mailing)
    assert statuses(rows) == {"1": "sent", "2": "failed", "3": "sent"}
    failed = rows(STATUSES)[1]
    assert (failed.reason, failed.error, failed.attempts) == ("refused", "550 5.1.1 no such person", 1)
    assert mail_server.sessions == 1


def test_a_content_that_is_refused_for_good_fails_alone(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    mail_server.data_answers = ["554 5.7.1 spam"]
    record_critical(mailing, "1", "2")
    send(mailing)
    assert statuses(rows) == {"1": "failed", "2": "sent"}


def test_a_temporary_refusal_is_tried_again_later(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    mail_server.answers["1@example.org"] = ["450 greylisted", "452 still"]
    record_critical(mailing, "1", "2")
    send(mailing)
    assert statuses(rows) == {"1": "pending", "2": "sent"}
    assert rows(
        "SELECT FROM deliveries WHERE status = 'pending' AND next_attempt_at BETWEEN now() AND now() + interval '30 seconds'"
    )
    send(mailing)
    send(mailing)
    assert [(row.status, row.attempts) for row in rows(STATUSES)] == [("sent", 3), ("sent", 1)]


def test_after_the_last_try_it_is_kept_as_failed(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    mail_server.answers["1@example.org"] = ["451 no"] * 20
    record_critical(mailing, "1")
    for _ in range(10):
        send(mailing)
    row = rows(STATUSES)[0]
    assert (row.status, row.reason, row.attempts, row.error) == ("failed", "tried_too_often", 8, "451 no")


def test_a_refused_connection_rests_the_channel_and_costs_one_try(
    people: Company, configure: Callable[..., Settings], rows: Rows
) -> None:
    settings = configure(smtp_url=f"smtp://127.0.0.1:{free_port()}", email_from=SENDER)
    record_critical(settings, "1", "2", "3")
    plan(settings)
    tasks.send_emails()
    assert sorted(row.attempts for row in rows(STATUSES)) == [0, 0, 1]
    assert set(statuses(rows).values()) == {"pending"}
    for n in range(3):  # it rests: nobody knocks
        rows("UPDATE deliveries SET next_attempt_at = now()")
        tasks.send_emails()
        assert rows("SELECT failures FROM delivery_channels WHERE channel = 'email'")[0].failures == 1, n
    let_time_pass(settings)
    tasks.send_emails()  # one probes
    found = rows(
        "SELECT failures, paused_until - now() AS pause, error FROM delivery_channels WHERE channel = 'email'"
    )[0]
    assert found.failures == 2
    assert 8 < found.pause.total_seconds() <= 10
    assert "refused" in found.error
    assert sum(row.attempts for row in rows(STATUSES)) == 2


def test_when_the_server_is_back_everything_is_sent(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    mail_server.stop()
    record_critical(mailing, "1", "2", "3")
    send(mailing)
    mail_server.start()
    send(mailing)
    assert set(statuses(rows).values()) == {"sent"}
    assert sorted(mail_server.recipients) == [f"{n}@example.org" for n in (1, 2, 3)]
    assert rows("SELECT failures FROM delivery_channels WHERE channel = 'email'")[0].failures == 0


def test_a_connection_that_breaks_in_the_middle_costs_its_mail_a_try_and_the_others_nothing(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    mail_server.data_answers = ["250 OK", "disconnect"]
    record_critical(mailing, "1", "2", "3")
    send(mailing)
    assert [(row.status, row.attempts) for row in rows(STATUSES)] == [("sent", 1), ("pending", 1), ("pending", 0)]
    send(mailing)
    assert sorted(mail_server.recipients) == [f"{n}@example.org" for n in (1, 2, 3)]


def test_a_mail_that_was_taken_unseen_comes_twice_under_the_same_message_id(
    people: Company, mailing: Settings, mail_server: MailServer
) -> None:
    mail_server.data_answers = ["lose"]
    record_critical(mailing, "1", "2")
    send(mailing)
    send(mailing)
    assert {recipient: len(mails) for recipient, mails in mail_server.mails_by_recipient.items()} == {
        "1@example.org": 2,
        "2@example.org": 1,
    }
    first, second = mail_server.mails_by_recipient["1@example.org"]
    assert first["Message-ID"] == second["Message-ID"]


def test_a_server_that_hangs_up_after_its_yes_costs_nobody_a_try(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    mail_server.data_answers = ["leave", "250 OK", "leave", "leave"]
    record_critical(mailing, "1", "2", "3", "4")
    send(mailing)
    assert mail_server.recipients == [f"{n}@example.org" for n in (1, 2, 3, 4)]
    assert {(row.status, row.attempts) for row in rows(STATUSES)} == {("sent", 1)}
    assert mail_server.sessions < 12  # a few, not one a mail; a busy machine cuts turns short
    assert rows("SELECT failures FROM delivery_channels WHERE channel = 'email'")[0].failures == 0


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_server_that_takes_so_many_mails_in_a_session_gets_as_many_sessions(
    people: Company,
    configure: Callable[..., Settings],
    server_tls: ssl.SSLContext,
    certificate: Path,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    encrypted: bool,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with MailServer(tls=server_tls, needs_auth=True) if encrypted else MailServer() as server:
        server.most_mails = 1
        address = f"smtp+starttls://{USER}:{quote(PASSWORD, safe='')}@localhost" if encrypted else "smtp://127.0.0.1"
        settings = configure(smtp_url=f"{address}:{server.port}", email_from=SENDER)
        record_critical(settings, "1", "2", "3")
        send(settings)
    assert server.recipients == [f"{n}@example.org" for n in (1, 2, 3)]
    assert {(row.status, row.attempts) for row in rows(STATUSES)} == {("sent", 1)}


def test_a_server_that_takes_no_mail_of_a_session_is_down(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    mail_server.most_mails = 0
    record_critical(mailing, "1", "2")
    send(mailing)
    assert [(row.status, row.attempts) for row in rows(STATUSES)] == [("pending", 1), ("pending", 0)]
    assert rows("SELECT failures FROM delivery_channels WHERE channel = 'email'")[0].failures == 1


def test_a_mail_that_is_refused_before_it_comes_fails_alone(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    mail_server.early_answers = ["554 5.5.1 no valid recipients", "451 4.3.0 busy"]
    record_critical(mailing, "1", "2", "3")
    send(mailing)
    assert [(row.status, row.error) for row in rows(STATUSES)] == [
        ("failed", "554 5.5.1 no valid recipients"),
        ("pending", "451 4.3.0 busy"),
        ("sent", None),
    ]
    assert mail_server.sessions == 1


def test_code_421_means_that_all_wait(people: Company, mailing: Settings, mail_server: MailServer, rows: Rows) -> None:
    mail_server.answers["1@example.org"] = ["421 shutting down"]
    record_critical(mailing, "1", "2")
    send(mailing)
    assert [(row.status, row.attempts) for row in rows(STATUSES)] == [("pending", 1), ("pending", 0)]


def test_a_slow_server_is_left_after_a_bounded_time(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "ANSWER_SECONDS", 0.3)
    mail_server.pause_seconds = 1.0
    record_critical(mailing, "1", "2")
    began = time.monotonic()
    send(mailing)
    assert time.monotonic() - began < 1
    assert [row.attempts for row in rows(STATUSES)] == [1, 0]
    assert "timed out" in rows(STATUSES)[0].error


def test_a_server_that_drips_is_cut_off(
    people: Company, configure: Callable[..., Settings], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte now and then would restart every socket's own timeout for ever."""
    import threading

    monkeypatch.setattr(smtp, "OPEN_SECONDS", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                for _ in range(50):
                    try:
                        connection.send(b"2")
                    except OSError:
                        return
                    time.sleep(0.1)

        threading.Thread(target=drip, daemon=True).start()
        settings = configure(smtp_url=f"smtp://127.0.0.1:{listener.getsockname()[1]}", email_from=SENDER)
        record_critical(settings, "1")
        began = time.monotonic()
        send(settings)
        assert time.monotonic() - began < 2
    assert statuses(rows) == {"1": "pending"}


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path)


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize(
    "scheme", ["smtp+starttls://{}", "smtp://{}?tls=starttls", "smtps://{}", "smtp://{}/?tls=implicit"]
)
def test_mails_go_encrypted_and_logged_in(
    people: Company,
    configure: Callable[..., Settings],
    server_tls: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    which = "implicit_tls" if "implicit" in scheme or "smtps" in scheme else "tls"
    with MailServer(**{which: server_tls}, needs_auth=True) as server:  # type: ignore[arg-type]
        address = scheme.format(f"{USER}:{quote(PASSWORD, safe='')}@localhost:{server.port}")
        settings = configure(smtp_url=address, email_from=SENDER)
        record_critical(settings, "1")
        send(settings)
        assert server.recipients == ["1@example.org"]


def test_a_certificate_that_nobody_vouches_for_is_refused(
    people: Company, configure: Callable[..., Settings], server_tls: ssl.SSLContext, rows: Rows
) -> None:
    with MailServer(tls=server_tls) as server:
        settings = configure(smtp_url=f"smtp+starttls://localhost:{server.port}", email_from=SENDER)
        record_critical(settings, "1")
        send(settings)
    assert "CERTIFICATE_VERIFY_FAILED" in rows(STATUSES)[0].error
    assert server.recipients == []


def test_without_the_encryption_that_was_asked_for_nothing_is_sent(
    people: Company, configure: Callable[..., Settings], mail_server: MailServer, rows: Rows
) -> None:
    settings = configure(smtp_url=f"smtp+starttls://127.0.0.1:{mail_server.port}", email_from=SENDER)
    record_critical(settings, "1")
    send(settings)
    assert "STARTTLS" in rows(STATUSES)[0].error
    assert mail_server.recipients == []


def test_a_wrong_password_rests_the_channel(people: Company, configure: Callable[..., Settings], rows: Rows) -> None:
    with MailServer(needs_auth=True) as server:
        settings = configure(smtp_url=f"smtp://{USER}:wrong@127.0.0.1:{server.port}?tls=none", email_from=SENDER)
        record_critical(settings, "1", "2")
        send(settings)
    assert sorted(row.attempts for row in rows(STATUSES)) == [0, 1]
    found = rows("SELECT failures, error FROM delivery_channels WHERE channel = 'email'")[0]
    assert (found.failures, found.error[:3]) == (1, "535")
    assert "wrong" not in found.error


def test_the_queue_of_a_dead_worker_comes_back_when_its_lease_ends(
    people: Company, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    record_critical(mailing, "1")
    plan(mailing)
    rows("UPDATE deliveries SET status = 'sending', claimed_at = now(), next_attempt_at = now() + interval '1 minute'")
    tasks.send_emails()
    assert mail_server.recipients == []
    rows("UPDATE deliveries SET next_attempt_at = now()")
    tasks.send_emails()
    assert mail_server.recipients == ["1@example.org"]


@pytest.mark.parametrize("offered", [True, False])
def test_an_address_beyond_ascii_needs_a_server_that_says_it_can(
    people: Company, configure: Callable[..., Settings], rows: Rows, offered: bool
) -> None:
    rows("UPDATE users SET email = 'élise@bücher.example', name = 'Élise 山田' WHERE external_id = '2'")
    rows("UPDATE users SET email = 'info@bücher.example' WHERE external_id = '3'")
    with MailServer(smtputf8=offered) as server:
        settings = configure(smtp_url=f"smtp://127.0.0.1:{server.port}", email_from=SENDER)
        record_critical(settings, "1", "2", "3")
        send(settings)
    ascii_only = ["1@example.org", "info@xn--bcher-kva.example"]
    assert statuses(rows) == {"1": "sent", "2": "sent" if offered else "skipped", "3": "sent"}
    assert server.sessions == 1
    if offered:
        assert server.recipients == [ascii_only[0], "élise@xn--bcher-kva.example", ascii_only[1]]
        assert server.in_utf8 == [False, True, False]
        mail = server.mails[1]
        assert [(one.display_name, one.addr_spec) for one in mail["To"].addresses] == [
            ("Élise 山田", "élise@xn--bcher-kva.example")
        ]
        assert mail["Subject"] == "Évacuation"
        assert mail["Message-ID"].isascii()
        assert "Sortez" in mail.get_body(("plain",)).get_content()
    else:
        assert server.recipients == ascii_only
        assert [(row.reason, row.attempts) for row in rows(STATUSES)][1] == ("needs_smtputf8", 0)


def test_an_address_that_a_server_with_smtputf8_refuses_fails_alone(
    people: Company, configure: Callable[..., Settings], rows: Rows
) -> None:
    rows("UPDATE users SET email = 'élise@example.org' WHERE external_id = '1'")
    with MailServer(smtputf8=True) as server:
        server.answers["élise@example.org"] = ["553 5.6.7 no such mailbox"]
        settings = configure(smtp_url=f"smtp://127.0.0.1:{server.port}", email_from=SENDER)
        record_critical(settings, "1", "2")
        send(settings)
    assert [(row.status, row.reason) for row in rows(STATUSES)] == [("failed", "refused"), ("sent", None)]
