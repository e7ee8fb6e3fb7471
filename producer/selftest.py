"""The six steps of the document's test script, on a running system: what every installation can be asked.

With made-up people in made-up roles (`selftest-…`), so that nobody real is notified; what can't be
narrowed down to them (everyone, the fixed roles) is recorded in a transaction that is rolled back, and
checked there. Everything made is removed afterwards, also when interrupted; what a killed run left is
removed by the next.
"""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from producer.audience import group, role, user
from producer.directory import Directory, Person
from producer.role_notifications import RoleNotificationHelper
from producer.sent import SentEvent
from producer.service import NotificationService
from shared.database import engine, transaction
from shared.errors import NotificationError, Unavailable, UnknownGroup
from shared.ids import first_event_id_at
from shared.models import TRIAL, NotificationEvent
from shared.settings import Settings
from shared.tokens import can_issue_tokens, issue_token
from shared.websocket import WebSocket

PREFIX = TRIAL
LEFT_AFTER = timedelta(hours=1)  # an unfinished run this old is dead
TOKEN_SECONDS = 600
ANSWER_SECONDS = 10.0
API = "/api/notifications/notifications/"
TITLE, MESSAGE = "Essai du système", "Message d’essai"

LEFT = text("""
    SELECT DISTINCT substring(external_id FROM '^selftest-[0-9a-f]+') FROM users
    WHERE starts_with(external_id, 'selftest-') AND created_at < :before
""")
# Events before what was stored for them: a worker that is at one is waited for.
REMOVE = (
    text("DELETE FROM notification_events WHERE source = :tag AND id >= :since"),
    text("DELETE FROM notifications WHERE recipient_id IN (SELECT id FROM users WHERE starts_with(external_id, :tag))"),
    text("DELETE FROM users WHERE starts_with(external_id, :tag)"),
    text("DELETE FROM groups WHERE name ~ ('^(role|stage|survey)_' || :tag)"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it is called, how it went, what was seen, and how long it took."""

    name: str
    status: str  # passed, failed, skipped
    seconds: float
    seen: Sequence[str] = ()


class Failed(Exception):
    """A step saw something else than it should; the message says what."""


@dataclass(slots=True)
class Run:
    """The made-up people of one run: a1 and a2 in one role, b in another."""

    settings: Settings
    tag: str
    since: int
    seen: list[str] = field(default_factory=list)

    @property
    def service(self) -> NotificationService:
        return NotificationService(settings=self.settings)

    @property
    def helper(self) -> RoleNotificationHelper:
        return RoleNotificationHelper(settings=self.settings)

    def name(self, what: str) -> str:
        return f"{self.tag}-{what}"

    def check(self, is_so: object, what: str) -> None:
        if not is_so:
            raise Failed(what)
        self.seen.append(what)

    def expect(self, sent: SentEvent, what: str, *people: str) -> None:
        """The event reaches exactly these people."""
        reached = sorted(notification.recipient.id for notification in sent.wait(ANSWER_SECONDS))
        self.check(reached == sorted(map(self.name, people)), f"{what}: reached {', '.join(people) or 'nobody'}")

    def ask(self, person: str, path: str, method: str = "GET") -> Any:
        """The gateway's answer to this person. Raises: Failed."""
        address = f"{self.settings.public_address}{API}{path}"
        headers = {"Authorization": f"Bearer {self.token(person)}", "Accept": "application/json"}
        request = urllib.request.Request(
            address, method=method, headers=headers
        )  # http or https: the settings checked it
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {API}{path}: HTTP {error.code}") from None
        except (OSError, ValueError) as error:
            raise Failed(
                f"{method} {address}: {error} (is `web` running? is PUBLIC_URL right, or PORT that of `web`?)"
            ) from None

    def token(self, person: str) -> str:
        return issue_token(self.settings, self.name(person), TOKEN_SECONDS)

    def ids(self, person: str) -> list[int]:
        """What is in their inbox, newest first."""
        return [one["id"] for one in self.ask(person, "?page_size=50")["results"]]


def run_selftest(settings: Settings) -> Iterator[Step]:
    """Run the steps, one after another; each is yielded when it is done. Close the iterator to end early."""
    _remove_left(settings)
    now = datetime.now(UTC)
    run = Run(settings, PREFIX + secrets.token_hex(4), first_event_id_at(now - timedelta(minutes=1)))
    try:
        _hire(run)
        for name, step in STEPS:
            yield _do(run, name, step)
    finally:
        remove(settings, run.tag, run.since)


def _do(run: Run, name: str, step: Callable[[Run], None]) -> Step:
    started = time.monotonic()
    run.seen = []
    status = "passed"
    if step in OVER_HTTP and not can_issue_tokens(run.settings):
        return Step(
            name, "skipped", 0.0, ["tokens are signed by another (JWT_ALGORITHM): nobody can be impersonated here"]
        )
    try:
        step(run)
    except Failed as failed:
        status = "failed"
        run.seen.append(str(failed))
    except NotificationError as error:
        status = "failed"
        run.seen.append(error.message)
    return Step(name, status, round(time.monotonic() - started, 3), run.seen)


def _hire(run: Run) -> None:
    directory = Directory(settings=run.settings)
    directory.upsert_people([Person(id=run.name(name), name=f"Essai {name}") for name in ("a1", "a2", "b")])
    directory.set_roles(
        {run.name("a1"): [run.name("a")], run.name("a2"): [run.name("a")], run.name("b"): [run.name("b")]}
    )
    directory.add_memberships(
        [
            ("stage_" + run.name("1"), run.name("a1")),
            ("stage_" + run.name("1"), run.name("b")),
            ("survey_" + run.name("1"), run.name("a2")),
        ]
    )


def _methods(run: Run) -> None:
    service, helper, source = run.service, run.helper, run.tag
    one = run.name("1")
    run.expect(service.send_notification(run.name("a1"), TITLE, MESSAGE, source=source), "send_notification", "a1")
    run.expect(
        service.send_role_notifications([run.name("a")], TITLE, MESSAGE, source=source),
        "send_role_notifications",
        "a1",
        "a2",
    )
    run.expect(
        service.send_bulk_notifications([run.name("a1"), run.name("b")], TITLE, MESSAGE, source=source),
        "send_bulk_notifications",
        "a1",
        "b",
    )
    run.expect(
        service.send_stage_notification(one, TITLE, MESSAGE, source=source), "send_stage_notification", "a1", "b"
    )
    run.expect(
        helper.notify_stage_participants(one, TITLE, MESSAGE, source=source), "notify_stage_participants", "a1", "b"
    )
    run.expect(
        helper.notify_survey_participants(one, TITLE, MESSAGE, source=source), "notify_survey_participants", "a2"
    )
    stage_event = helper.create_stage_event("stage_update", one, source=source)
    run.expect(service.process_event(stage_event, ANSWER_SECONDS), "create_stage_event", "a1", "b")
    evaluation = helper.create_evaluation_event("evaluation", run.name("b"), run.name("a2"), source=source)
    run.expect(service.process_event(evaluation, ANSWER_SECONDS), "create_evaluation_event", "a2", "b")
    for name, terms, send in (
        ("notify_stagiaires", ["role_stagiaire"], lambda helper, _: helper.notify_stagiaires(TITLE, MESSAGE)),
        ("notify_tuteurs", ["role_tuteur"], lambda helper, _: helper.notify_tuteurs(TITLE, MESSAGE)),
        ("notify_rh_team", ["role_rh"], lambda helper, _: helper.notify_rh_team(TITLE, MESSAGE)),
        ("notify_admin_team", ["role_admin"], lambda helper, _: helper.notify_admin_team(TITLE, MESSAGE)),
        (
            "notify_management_team",
            ["role_admin", "role_rh"],
            lambda helper, _: helper.notify_management_team(TITLE, MESSAGE),
        ),
        ("send_broadcast", ["everyone"], lambda _, service: service.send_broadcast(TITLE, MESSAGE)),
        (
            "create_survey_event",
            ["role_rh", "survey_" + one],
            lambda helper, _: helper.create_survey_event("survey", one),
        ),
    ):
        _check_unsent(run, name, terms, send)


def _check_unsent(
    run: Run,
    name: str,
    terms: list[str],
    send: Callable[[RoleNotificationHelper, NotificationService], SentEvent | NotificationEvent],
) -> None:
    """Recorded, looked at and rolled back: it would reach real people."""
    with Session(engine(run.settings)) as session:
        try:
            sent = send(RoleNotificationHelper(session, run.settings), NotificationService(session, run.settings))
            event = sent.event if isinstance(sent, SentEvent) else sent
            audience = sorted(" & ".join(term) for term in event.audience)
        except UnknownGroup:
            run.seen.append(f"{name}: not sent; nobody has recorded {' or '.join(terms)} here")
            return
        finally:
            session.rollback()
        run.check(audience == sorted(terms), f"{name}: would reach {' and '.join(terms)} (not sent)")


def _filtering(run: Run) -> None:
    sent = run.service.send_role_notifications([run.name("a")], TITLE, MESSAGE, source=run.tag)
    run.expect(sent, f"role {run.name('a')}", "a1", "a2")
    for person in ("a1", "a2"):
        run.check(sent.id in run.ids(person), f"the inbox of {person} shows it")
    run.check(sent.id not in run.ids("b"), "the inbox of b, of another role, does not")
    both = run.service.create_event(
        "system",
        audience=role(run.name("a")) & group("stage_" + run.name("1")),
        title=TITLE,
        message=MESSAGE,
        source=run.tag,
    )
    run.expect(run.service.process_event(both, ANSWER_SECONDS), "role & stage", "a1")
    without = run.service.create_event(
        "system",
        audience=role(run.name("a")).excluding(user(run.name("a1"))),
        title=TITLE,
        message=MESSAGE,
        source=run.tag,
    )
    run.expect(run.service.process_event(without, ANSWER_SECONDS), "role without one of it", "a2")


def _websocket(run: Run) -> None:
    address = run.settings.public_address
    try:
        with WebSocket(address, run.token("a1")) as one, WebSocket(address, run.token("b")) as other:
            groups = one.wait_for("connected")["groups"]
            run.check(
                {"role_" + run.name("a"), "stage_" + run.name("1")} <= set(groups),
                "connected, in the groups of role and stage",
            )
            other.wait_for("connected")
            one.send(type="ping")
            one.wait_for("pong")
            run.seen.append("ping and pong")
            started = time.monotonic()
            sent = run.service.send_role_notifications([run.name("a")], TITLE, MESSAGE, source=run.tag)
            while one.wait_for("role_notification")["notification"]["id"] != sent.id:
                pass  # one that was stored a moment before
            run.seen.append(f"a role_notification in {1000 * (time.monotonic() - started):.0f} ms")
            personal = run.service.send_notification(run.name("b"), TITLE, MESSAGE, source=run.tag)
            while (reached := other.wait_for("notification")["notification"]["id"]) < personal.id:
                pass  # one that was stored a moment before
            run.check(reached == personal.id, "a notification for one person reached b")
    except Unavailable as error:
        raise Failed(f"{address}: {error.message}") from None


def _cleaning(run: Run) -> None:
    before = run.ids("a1")
    run.check(before, f"a1 has {len(before)} notifications")
    run.ask("a1", f"{before[0]}/read/", "POST")
    run.ask("a1", "mark-all-read/", "POST")
    run.check(run.ask("a1", "unread-count/")["unread_count"] == 0, "mark-all-read: none unread")
    run.ask("a1", f"{before[0]}/delete/", "DELETE")
    run.check(before[0] not in run.ids("a1"), "delete: it is gone")
    for person in ("a1", "a2", "b"):
        run.ask(person, "clear-all/", "DELETE")
        run.check(not run.ids(person), f"clear-all: the inbox of {person} is empty")


def _statistics(run: Run) -> None:
    word = run.tag.replace("-", "")
    before = run.ask("a1", "statistics/")["total"]
    sent = run.service.send_notification(run.name("a1"), f"Éssai {word}", MESSAGE, "warning", source=run.tag).wait(
        ANSWER_SECONDS
    )
    found = run.ask("a1", "statistics/")
    warnings = {"total": 1, "unread": 1, "seen": 0, "read": 0}
    run.check(
        found["total"] == before + 1 and found["by_type"]["warning"] == warnings,
        "statistics: one more, a warning, unread",
    )
    results = run.ask("a1", f"search/?q=essai+{word}")["results"]
    run.check([one["id"] for one in results] == [sent.id], "search: found without its accent")
    run.check(run.ask("b", f"search/?q={word}")["results"] == [], "search: nobody else finds it")


def _processing(run: Run) -> None:
    stage = "stage_" + run.name("1")
    event = run.service.create_event(
        "stage_update", {"stage_id": run.name("1"), "status": "en_cours"}, audience=stage, source=run.tag
    )
    run.check(event.id and not event.processed, f"event {event.id} is created")
    sent = run.service.process_event(event, ANSWER_SECONDS)
    run.check(event.processed, "it is processed")
    run.expect(sent, "stage_update", "a1", "b")
    key = run.name("once")
    first, second = (
        run.service.send_notification(run.name("b"), TITLE, MESSAGE, source=run.tag, idempotency_key=key)
        for _ in range(2)
    )
    run.check(first.id == second.id, "the same idempotency key is the same event")


STEPS: Sequence[tuple[str, Callable[[Run], None]]] = (
    ("role-based notification methods", _methods),
    ("notification filtering by role", _filtering),
    ("WebSocket functionality", _websocket),
    ("cleaning up notifications", _cleaning),
    ("statistics and search", _statistics),
    ("event creation and processing", _processing),
)
OVER_HTTP = (_filtering, _websocket, _cleaning, _statistics)


def remove(settings: Settings, tag: str, since: int) -> None:
    """Remove everything a run made."""
    with transaction(settings) as session:
        for statement in REMOVE:
            values = {"tag": tag, "since": since}
            session.execute(statement, {name: value for name, value in values.items() if f":{name}" in statement.text})


def _remove_left(settings: Settings) -> None:
    with transaction(settings) as session:
        left = list(session.scalars(LEFT, {"before": datetime.now(UTC) - LEFT_AFTER}))
    for tag in left:
        remove(
            settings, tag, first_event_id_at(datetime.now(UTC) - timedelta(days=settings.notification_retention_days))
        )
