"""The document's Python, character by character, on the whole system: whom each example notifies, and whom not.

`document/*.py` are the code blocks of its sections "How It Works" (2 and 4), "Usage Examples" (1 to 5) and "Debug
Tools". What stands around them in an application is given here: the earlier package's name, the variables that
they use, and the host and session of the WebSocket.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect as open_socket

import producer
from producer import NotificationService, RoleNotificationHelper, role_notifications
from shared.logs import get_logger
from tests.company import Company
from tests.live_client import SHOWN, LiveClient, connect
from tests.system import System

DOCUMENT = Path(__file__).parent / "document"
PEOPLE = {
    "456": ("role_stagiaire", "stage_123", "survey_456"),
    "11": ("role_stagiaire",),
    "789": ("role_tuteur", "stage_123"),
    "12": ("role_tuteur",),
    "13": ("role_rh",),
    "14": ("role_admin",),
    "15": (),
}
Titles = dict[str, list[str]]


class Screens:
    """What each of the PEOPLE is shown: on a WebSocket that is open all the time, and in the inbox over REST."""

    def __init__(self, system: System, company: Company, sockets: dict[str, LiveClient]) -> None:
        self._system, self._company, self._sockets = system, company, sockets

    def shown(self, expected: Titles) -> tuple[Titles, Titles]:
        """Titles by person, live and listed, sorted; whoever has none is left out.

        Waits for what is expected: by then the gateway has written the same event's frames to everyone else, too.
        """
        for person, titles in expected.items():
            for _ in titles:
                self._sockets[person].wait_for(SHOWN)
        for socket in self._sockets.values():
            socket.settle()
        live = {person: sorted(titles) for person in PEOPLE if (titles := self._sockets[person].titles())}
        listed = {person: sorted(titles) for person in PEOPLE if (titles := self._listed(person))}
        return live, listed

    def _listed(self, person: str) -> list[str]:
        address = f"{self._system.base_url}/api/notifications/notifications/"
        answer = httpx.get(address, headers=self._company.bearer(person)).raise_for_status()
        return [one["title"] for one in answer.json()["results"]]


@pytest.fixture
def screens(system: System, company: Company) -> Iterator[Screens]:
    for person, groups in PEOPLE.items():
        company.person(person, *groups)
    with ExitStack() as stack:
        sockets = {person: stack.enter_context(connect(system.base_url, company.token(person))) for person in PEOPLE}
        yield Screens(system, company, sockets)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The variables that the examples use without making them, and the package that they import."""
    monkeypatch.setitem(sys.modules, "notification_service", producer)
    monkeypatch.setitem(sys.modules, "notification_service.role_notifications", role_notifications)
    return {
        **{name: getattr(role_notifications, name) for name in role_notifications.__all__},
        "helper": RoleNotificationHelper(),
        "notification_service": NotificationService(),
        "admin_user": SimpleNamespace(id=14),
        "stagiaire_user": SimpleNamespace(id=456),
        "rh_user": SimpleNamespace(id=13),
    }


def run(name: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run a code block with these variables; the variables it leaves."""
    file = DOCUMENT / f"{name}.py"
    exec(compile(file.read_text(), str(file), "exec"), names)
    return names


def each(title: str, *people: str) -> Titles:
    """These people are shown this."""
    return {person: [title] for person in people}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("role_based_sending", each("Nouveau sondage disponible", "456", "11")),
        ("all_stagiaires", each("Nouvelle offre de stage", "456", "11")),
        ("management_team", each("Rapport mensuel", "13", "14")),
        ("stage_specific", each("Document approuvé", "456", "789")),
    ],
)
def test_an_example_notifies_those_it_names_and_returns_their_notifications(
    block: str, expected: Titles, screens: Screens, names: dict[str, Any]
) -> None:
    returned = run(block, names)["notifications"]
    assert {one.recipient.id: [one.title] for one in returned} == expected
    assert screens.shown(expected) == (expected, expected)


def test_the_event_pipeline_reaches_both_roles_and_leaves_a_processed_event(
    screens: Screens, names: dict[str, Any]
) -> None:
    left = run("event_pipeline", names)
    expected = each("Stage mis à jour", "456", "11", "789", "12")
    assert {one.recipient.id: [one.title] for one in left["notifications"]} == expected
    assert left["event"].processed
    assert screens.shown(expected) == (expected, expected)


def test_the_custom_event_tells_the_stage_of_its_new_status(screens: Screens, names: dict[str, Any]) -> None:
    run("custom_event", names)
    expected = each("Statut du stage modifié", "456", "789")
    assert screens.shown(expected) == (expected, expected)


def test_the_convenience_functions_reach_whom_each_concerns(screens: Screens, names: dict[str, Any]) -> None:
    run("convenience_functions", names)
    of_the_stage = ["Document déposé", "Nouveau stage", "Témoignage déposé", "Évaluation terminée"]
    expected = {
        "456": sorted([*of_the_stage, "Nouveau sondage"]),
        "789": sorted([*of_the_stage, "Alerte KPI"]),
        "13": ["Alerte KPI", "Document déposé", "Nouveau sondage", "Témoignage déposé"],
    }
    assert screens.shown(expected) == (expected, expected)


class Connection:
    """What `websocket.create_connection` returns; with our host, and a session that the example's address has not."""

    def __init__(self, system: System, company: Company) -> None:
        self._system, self._company = system, company
        self.unread = ""

    def create_connection(self, address: str) -> Connection:
        ours = address.replace("ws://localhost:8000", self._system.base_url.replace("http", "ws"))
        self._socket = open_socket(ours, additional_headers=self._company.bearer("13"), legacy=True)
        self.send, self.recv = self._socket.send, self._socket.recv
        return self

    def close(self) -> None:
        """The example reads one frame of two; the other is kept before the connection ends."""
        self.unread = str(self._socket.recv(timeout=10))
        self._socket.close()


def test_the_debug_tools_enable_our_log_lines_and_the_websocket_answers_the_ping(
    system: System, company: Company, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    company.person("13", "role_rh")
    connection = Connection(system, company)
    package = ModuleType("websocket")
    package.create_connection = connection.create_connection  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "websocket", package)
    root, one_of_ours = logging.getLogger("notification_service"), logging.getLogger(get_logger("doorbell").name)
    level = root.level
    assert not one_of_ours.isEnabledFor(logging.DEBUG)
    try:
        run("debug_tools", {})
        assert one_of_ours.isEnabledFor(logging.DEBUG)
    finally:
        root.setLevel(level)
    # Who connects is welcomed within 5 ms; the ping may be answered before.
    frames = {frame["type"]: frame for frame in map(json.loads, [capsys.readouterr().out, connection.unread])}
    assert frames.keys() == {"connected", "pong"}
    assert (frames["connected"]["user"]["id"], frames["connected"]["groups"]) == ("13", ["user_13", "role_rh"])
