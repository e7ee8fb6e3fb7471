"""Who may say and hear what on a WebSocket: every frame × everyone who may ask, on a real gateway.

Nothing can be left out: the rows come from what the gateway dispatches by (`HANDLERS`), and from the kinds
of frames it can send.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self, get_args

import pytest
from sqlalchemy import text

from gateway.live.encoding import Kind
from gateway.live.protocol import HANDLERS
from shared.database import transaction
from shared.events import EventDraft, record_event
from shared.frames import KINDS
from shared.settings import Settings
from tests.company import Company
from tests.gateway.live.conftest import Worker
from tests.gateway.live.gateway_process import GatewayProcess
from tests.gateway.live.raw_client import RawClient
from tests.structure.callers import CALLERS, PEOPLE, hire
from tests.swarm import CLOSE, PING, PONG, TEXT, client_frame
from tests.system import wait_until
from workers import tasks


@dataclass(frozen=True)
class Row:
    """What comes back to whom: types of frames, and the code if the socket is closed. And what it changes."""

    nobody: str
    people: str
    service: str
    deactivated: str
    marks: str = ""  # times that are set: of one's own notifications, never of someone else's

    def answer(self, caller: str) -> list[str]:
        words: str = getattr(self, "people" if caller in PEOPLE else caller)
        return words.split()


# People say it when they are connected. The others say it right behind their first message, before the answer:
# nobody has no first message, a service shows its key, a deactivated person a token that is still good.
SAID = {  # nobody, people, service, deactivated
    "authenticate": Row("4501", "connected", "4501", "4503"),
    "ping": Row("pong", "connected pong", "4501", "pong 4503"),
    "resume": Row("error", "connected notification resumed", "4501", "error 4503", marks="delivered"),
    "seen": Row("error", "connected state", "4501", "error 4503", marks="seen"),
    "read": Row("error", "connected state", "4501", "error 4503", marks="seen read"),
}
NOT_IN_YET = {"nobody", "deactivated"}  # told by an `error` to wait for `connected`
HEARD: dict[str, Collection[str]] = {
    "connected": PEOPLE,
    "notification": PEOPLE,  # their own
    "role_notification": PEOPLE,  # of their own role
    "system_message": PEOPLE,
    "state": PEOPLE,
    "resumed": PEOPLE,
    "reset": PEOPLE,
    "pong": {*PEOPLE, *NOT_IN_YET},
    "error": {*PEOPLE, *NOT_IN_YET},
}
ADD = "add a row to {table} here, saying who gets what, and one to the tables of frames in docs/architecture.md"

TIMES = text("""
    SELECT external_id, event_id, seen_at IS NOT NULL AS seen, read_at IS NOT NULL AS read,
           delivered_at IS NOT NULL AS delivered
    FROM notifications JOIN users ON users.id = recipient_id
""")


@pytest.fixture(scope="module")
def gateway(settings: Settings) -> Iterator[GatewayProcess]:
    with GatewayProcess(settings, limits={"state_seconds": 0.05, "record_seconds": 0.05}) as process:
        yield process


class Socket:
    """A WebSocket that has said nothing yet, and what has come on it: types of frames, and how it was closed."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.client = RawClient(gateway.port)
        self.client.upgrade()
        self.frames: list[dict[str, Any]] = []
        self.came: list[str] = []

    def say(self, *frames: dict[str, Any]) -> None:
        """All of them in one packet: the gateway reads them before it does anything else."""
        self.client.sock.sendall(b"".join(client_frame(TEXT, json.dumps(frame).encode()) for frame in frames))

    def wait_for(self, kind: str, number: int = 1) -> dict[str, Any]:
        """The first frame of this type, or the second, …; it may have come already."""
        while self.came.count(kind) < number:
            self._take()
        return [frame for frame in self.frames if frame["type"] == kind][number - 1]

    def everything(self, at_least: int = 0) -> list[str]:
        """What came, when it is at least so much, and whatever else was under way."""
        while len(self.came) < at_least:
            self._take()
        if not self.came or not self.came[-1].isdecimal():
            self.client.send(PING, b"the end")
            while self._take() not in (PONG, CLOSE):
                pass
        return self.came

    def _take(self) -> int:
        try:
            opcode, payload = self.client.frame()
        except TimeoutError:
            raise AssertionError(f"nothing comes after {self.came}") from None
        if opcode == TEXT:
            self.frames.append(json.loads(payload))
            self.came.append(self.frames[-1]["type"])
        elif opcode == CLOSE:
            self.came.append(str(int.from_bytes(payload[:2], "big")))
        return opcode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.sock.close()


def first_message(token: str | None) -> list[dict[str, Any]]:
    return [{"type": "authenticate", "token": token}] if token else []


def everyone(settings: Settings) -> list[int]:
    with transaction(settings) as session:
        return list(session.scalars(text("SELECT id FROM users ORDER BY id")))


def marks(settings: Settings) -> dict[tuple[str, int], str]:
    """By person and event, the times that are set."""
    with transaction(settings) as session:
        rows = session.execute(TIMES).mappings().all()
    return {
        (row["external_id"], row["event_id"]): " ".join(name for name in ("delivered", "seen", "read") if row[name])
        for row in rows
    }


def test_every_frame_has_a_row_and_every_row_a_frame() -> None:
    for table, rows, frames in (("SAID", SAID, HANDLERS), ("HEARD", HEARD, (*get_args(Kind), *KINDS))):
        assert set(frames) - set(rows) == set(), ADD.format(table=table)
        assert set(rows) - set(frames) == set(), f"{table}: these rows have no frame any more: take them away"


@pytest.mark.parametrize("kind", SAID)
def test_whoever_says_it_gets_what_they_may_and_touches_only_their_own(
    kind: str, gateway: GatewayProcess, company: Company, settings: Settings
) -> None:
    tokens, bystander_id = hire(company), company.person("42")
    with Socket(gateway) as bystander:
        bystander.say(*first_message(company.token("42")))
        cursor = bystander.wait_for("connected")["cursor"]
        worker = Worker(settings)
        ours = worker.send(everyone(settings), priority="critical")
        theirs = worker.send([bystander_id], priority="critical")
        bystander.wait_for("notification", 2)
        fields = {"resume": {"cursor": cursor, "have": [theirs]}, "seen": {"ids": [ours, theirs]}}
        fields["read"] = fields["seen"]
        # People last: what they change is written after whatever the others would have changed.
        for caller in sorted(CALLERS, key=PEOPLE.__contains__):
            expected = SAID[kind].answer(caller)
            with Socket(gateway) as socket:
                said = [] if kind == "authenticate" else [{"type": kind, **fields.get(kind, {})}]
                if caller in PEOPLE:
                    socket.say(*first_message(tokens[caller]))
                    socket.wait_for("connected")
                    socket.say(*said)
                elif caller == "nobody":
                    socket.say(*(said or first_message("forged")))
                else:
                    socket.say(*first_message(tokens[caller]), *said)
                assert socket.everything(len(expected)) == expected, (caller, socket.frames)
        changed = dict.fromkeys(marks(settings), "") | {(person, ours): SAID[kind].marks for person in PEOPLE}
        wait_until(lambda: marks(settings) == changed, str(changed), explain=lambda: str(marks(settings)))
        bystander.everything()
        assert not [frame for frame in bystander.frames if "seen" in frame or "read" in frame]


def test_only_who_may_hears_it(gateway: GatewayProcess, company: Company, settings: Settings) -> None:
    tokens = hire(company)
    with ExitStack() as stack:
        sockets = {caller: stack.enter_context(Socket(gateway)) for caller in CALLERS}
        for caller in ("nobody", "service", "deactivated"):
            sockets[caller].say(*first_message(tokens[caller]), {"type": "ping"}, {"type": "read", "ids": [1]})
        for caller in PEOPLE:
            sockets[caller].say(*first_message(tokens[caller]))
            sockets[caller].wait_for("connected")

        addressed: dict[str, list[tuple[str, int]]] = {caller: [] for caller in CALLERS}
        with transaction(settings) as session:

            def record(kind: str, audience: str, *reaches: str) -> None:
                event = record_event(session, EventDraft(audience=[audience], title="T", message="M"), settings)
                for caller in reaches:
                    addressed[caller].append((kind, event.id))

            for person in PEOPLE:
                record("role_notification", f"role_{person}", person)
                record("notification", f"user_{person}", person)
            record("notification", "user_deactivated")
            record("system_message", "everyone", *PEOPLE)
        tasks.process_event()

        for person in PEOPLE:
            cursor = sockets[person].wait_for("connected")["cursor"]
            sockets[person].wait_for("system_message")
            again = {"type": "resume", "cursor": cursor}
            sockets[person].say(again, again, *first_message(tokens[person]), {"type": "ping"})
            for kind in ("resumed", "reset", "error", "pong", "state"):
                sockets[person].wait_for(kind)
        for caller in CALLERS:
            came = sockets[caller].everything(at_least=3 if caller == "deactivated" else 1)
            assert {kind for kind in came if not kind.isdecimal()} == {kind for kind in HEARD if caller in HEARD[kind]}
            notified = [
                (frame["type"], frame["notification"]["id"])
                for frame in sockets[caller].frames
                if "notification" in frame
            ]
            assert notified == addressed[caller], caller
