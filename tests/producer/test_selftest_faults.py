"""Each step of `stagebloom selftest` fails when what it looks at is broken, it alone, and it still cleans up.

What is broken is the running system, never the self-test: the database loses on the way what a fault in the code
would lose, and a proxy does not pass WebSockets on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from sqlalchemy import text

from producer.selftest import STEPS, run_selftest
from shared.database import transaction
from shared.settings import Settings
from tests.producer.test_selftest import count
from tests.system import System

NAMES = [name for name, _ in STEPS]


@contextmanager
def losing(settings: Settings, when: str, lost: str) -> Iterator[None]:
    """While this holds, the database changes rows as they are written: `NEW.… := …`."""
    function = f"CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {lost}; RETURN NEW; END $$"
    trigger = f"CREATE TRIGGER lose BEFORE {when} FOR EACH ROW EXECUTE FUNCTION lose()"
    with transaction(settings) as session:
        session.execute(text(function))
        session.execute(text(trigger))
    try:
        yield
    finally:
        with transaction(settings) as session:
            session.execute(text("DROP FUNCTION lose() CASCADE"))


@contextmanager
def proxy_without_websockets(address: str) -> Iterator[str]:
    """A reverse proxy that passes everything on but `Upgrade`; its address."""
    upstream = httpx.Client(base_url=address)

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kept = {name: self.headers[name] for name in ("Authorization", "Accept") if self.headers[name]}
            answer = upstream.request(self.command, self.path, headers=kept)
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with upstream, ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def failures(settings: Settings) -> dict[str, str]:
    """The steps that failed, and what each saw last."""
    found = {step.name: str(step.seen[-1]) for step in run_selftest(settings) if step.status == "failed"}
    assert count(settings) == 0, "everything made is removed"
    return found


@pytest.mark.parametrize(
    ("name", "when", "lost", "seen"),
    [
        (
            NAMES[0],
            "INSERT ON notification_events",
            "IF NEW.audience::text LIKE '%survey_%' THEN NEW.audience := '[[\"everyone\"]]'; END IF",
            "notify_survey_participants: reached a2",
        ),
        (NAMES[1], "INSERT ON notification_events", "NEW.exclude := '[]'", "role without one of it: reached a2"),
        (NAMES[3], "UPDATE ON notifications", "NEW.deleted_at := NULL", "delete: it is gone"),
        (NAMES[4], "INSERT ON notification_events", "NEW.search_text := ''", "search: found without its accent"),
        (NAMES[5], "INSERT ON notification_events", "NEW.idempotency_key := NULL", "the same idempotency key is the same event"),
    ],
    ids=[*NAMES[:2], *NAMES[3:]],
)  # fmt: skip
def test_a_step_fails_with_what_it_looks_at(
    name: str, when: str, lost: str, seen: str, system: System, settings: Settings
) -> None:
    with losing(settings, when, lost):
        assert failures(settings.model_copy(update={"public_url": system.base_url})) == {name: seen}


def test_the_websocket_step_fails_behind_a_proxy_that_passes_no_upgrade_on(system: System, settings: Settings) -> None:
    with proxy_without_websockets(system.base_url) as address:
        found = failures(settings.model_copy(update={"public_url": address}))
    assert found == {NAMES[2]: f"{address}: the handshake was refused with HTTP 400"}
