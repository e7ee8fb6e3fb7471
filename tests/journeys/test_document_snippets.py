"""The document's TypeScript, character by character, in Node against the whole system.

`document/*.mts` are the code blocks of its sections "WebSocket Connection" and "API Calls"; `page.mjs` is the
page around them, which supplies the host and the session. Playwright's wheel carries the Node that runs them.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from producer import NotificationService
from tests.company import Company
from tests.system import System

DOCUMENT = Path(__file__).parent / "document"
WAIT_SECONDS = 30.0


def node() -> str:
    playwright = pytest.importorskip("playwright")
    found = Path(playwright.__file__).parent / "driver" / "node"
    if not found.exists():
        pytest.skip("no Node: Playwright's wheel carries one")
    return str(found)


class Page:
    """A running snippet; `wait_for` gives what it said next."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, what: str) -> Any:
        while True:
            try:
                line = json.loads(self._lines.get(timeout=WAIT_SECONDS))
            except queue.Empty:
                raise AssertionError(f"no {what!r}; said: {self.said}") from None
            self.said.append(line)
            if line["what"] == what:
                return line["value"]

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)


@contextmanager
def opened(snippet: Path, system: System, company: Company, person: str, event_id: int = 0) -> Iterator[Page]:
    """The snippet in Node, with a session of this person."""
    answer = httpx.post(f"{system.base_url}/api/session/", headers=company.bearer(person))
    assert answer.status_code == 201, answer.text
    cookie = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())
    environment = {
        **os.environ,
        "BASE_URL": system.base_url,
        "COOKIE": cookie,
        "TOKEN": company.token(person),
        "ID": str(event_id),
        "NODE_NO_WARNINGS": "1",
    }
    process = subprocess.Popen(
        [node(), str(DOCUMENT / "page.mjs"), str(snippet)], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield Page(process)
    finally:
        process.kill()
        process.wait()


def test_the_websocket_connection_shows_each_kind_and_keeps_itself_alive(system: System, company: Company) -> None:
    company.person("42", "role_stagiaire")
    company.person("7", "role_rh")
    service = NotificationService()
    with opened(DOCUMENT / "websocket_connection.mts", system, company, "42") as page:
        assert page.wait_for("frame") == "connected"
        service.send_bulk_notifications(["42"], title="Pour vous", message="Seul")
        assert page.wait_for("notification")["title"] == "Pour vous"
        service.send_role_notifications(["rh"], title="Pour RH", message="…")
        service.send_role_notifications(["stagiaire"], title="Pour stagiaires", message="…")
        assert page.wait_for("role notification")["title"] == "Pour stagiaires"
        service.send_broadcast(title="À tous", message="Maintenance à 18 h")
        assert page.wait_for("system message") == "Maintenance à 18 h"
        while page.wait_for("frame") != "pong":
            pass
        assert not [line for line in page.said if line["what"] == "closed" or "Pour RH" in str(line)]


def test_the_api_calls_answer_as_the_document_reads_them(system: System, company: Company, tmp_path: Path) -> None:
    company.person("42", "role_stagiaire")
    company.person("7")
    company.notify("42", title="Autre", message="Rien")
    event_id = company.notify("42", title="Stage commencé", message="Bienvenue")
    company.notify("7", title="Stage d'un autre", message="…")
    snippet = tmp_path / "api_calls.mts"
    names = ["notifications", "unreadCount", "searchResults"]
    snippet.write_text((DOCUMENT / "api_calls.mts").read_text() + f"\nexport {{ {', '.join(names)} }};\n")
    with opened(snippet, system, company, "42", event_id) as page:
        found = {name: page.wait_for(name) for name in sorted(names)}
    assert [line["value"]["status"] for line in page.said if line["what"] == "fetched"] == [200] * 4
    assert [one["title"] for one in found["notifications"]["results"]] == ["Stage commencé", "Autre"]
    assert found["unreadCount"]["unread_count"] == 1, "the one is read by then"
    assert [(one["id"], one["is_read"]) for one in found["searchResults"]["results"]] == [(event_id, True)]
