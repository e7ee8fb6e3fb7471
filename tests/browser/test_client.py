"""client.js against a gateway played by the test: what it says, when it comes back, what it hands out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute

from tests.browser.conftest import serve_static

ADDRESS = "ws://client.test/ws/notifications/"
START = """async (options) => {
  const { NotificationClient } = await import("/static/client.js");
  Math.random = () => 1;  // the longest delays
  window.got = [];
  window.client = new NotificationClient({ getCredentials: async () => ({ token: "t" }), ...options });
  for (const type of ["connected", "notification", "state", "reset", "resumed", "refused", "status"]) {
    client.addEventListener(type, ({ detail }) => got.push([type, detail]));
  }
  client.connect();
}"""


class PlayedGateway:
    """Answers the page's WebSockets; remembers every connection and what came over it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.connections: list[WebSocketRoute] = []
        self.received: list[list[dict[str, Any]]] = []
        self.closes: list[tuple[int | None, str | None]] = []
        page.route_web_socket(ADDRESS, self._accept)

    def _accept(self, route: WebSocketRoute) -> None:
        received: list[dict[str, Any]] = []
        self.connections.append(route)
        self.received.append(received)
        route.on_message(lambda text: received.append(json.loads(text)))
        route.on_close(lambda code, reason: self.closes.append((code, reason)))

    def start(self) -> PlayedGateway:
        self.page.evaluate(START, {})
        self.wait_for_connections(1)
        return self

    def wait_for_connections(self, count: int) -> None:
        self.wait_until(lambda: len(self.received) == count and bool(self.received[-1]))

    def wait_until(self, condition: Any) -> None:
        for _ in range(500):
            if condition():
                return
            self.page.evaluate("0")  # lets Playwright hand us what has come
        raise AssertionError("never came true")

    def send(self, **frame: Any) -> None:
        self.connections[-1].send(json.dumps(frame))

    def connected(self, cursor: str = "c1", **more: Any) -> None:
        user = {"id": "1", "name": "Léa", "roles": ["stagiaire"], "locale": "fr"}
        values = {"groups": ["user_1"], "unread_count": 0, "version": 1, **more}
        self.send(**{"type": "connected", "user": user, "cursor": cursor, **values})
        self.wait_for("connected")

    def notify(self, number: int) -> None:
        self.send(type="notification", notification={"id": number, "title": f"n{number}"})

    def close(self, code: int) -> None:
        self.connections[-1].close(code=code)

    def got(self, kind: str) -> list[dict[str, Any]]:
        return [detail for type_, detail in self.page.evaluate("got") if type_ == kind]

    def wait_for(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        self.wait_until(lambda: len(self.got(kind)) >= count)
        return self.got(kind)

    def last_status(self) -> dict[str, Any]:
        return self.got("status")[-1]

    def come_back(self) -> None:
        """Let the longest delay pass until the next connection is there."""
        before = len(self.connections)
        self.wait_until(lambda: self.last_status()["status"] == "waiting")
        self.page.clock.fast_forward(30_000)
        self.wait_for_connections(before + 1)


@pytest.fixture
def gateway(client_page: Page) -> PlayedGateway:
    return PlayedGateway(client_page)


def test_the_first_message_says_who_it_is(gateway: PlayedGateway) -> None:
    gateway.start()
    assert gateway.received[0] == [{"type": "authenticate", "token": "t"}]
    gateway.connected()
    assert gateway.last_status()["status"] == "live"


def test_on_an_https_page_the_socket_is_encrypted_too(page: Page) -> None:
    page.route("https://client.test/**", serve_static)
    opened: list[str] = []
    page.route_web_socket("**/ws/notifications/", lambda socket: opened.append(socket.url))
    page.goto("https://client.test/inbox")
    page.evaluate(START, {})
    assert opened == ["wss://client.test/ws/notifications/"]


def test_close_codes_say_whether_to_come_back(client_page: Page) -> None:
    back = [1001, 1006, 1011, 1012, 1013, 4000, 4001, 4002, 4008, 4010, 4499]
    away = [1000, 1003, 1007, 1008, 1009, 4500, 4501, 4502, 4503, 4504, 4505, 4999]
    found = client_page.evaluate(
        "async (codes) => codes.filter((await import('/static/client.js')).comesBack)", back + away
    )
    assert found == back


def test_delays_double_up_to_thirty_seconds_and_start_anywhere_below(client_page: Page) -> None:
    delays = client_page.evaluate(
        """async () => {
          const { reconnectDelaySeconds } = await import("/static/client.js");
          return [...Array(7).keys()].map((n) => [0, 1].map((r) => reconnectDelaySeconds(n, () => r)));
        }"""
    )
    assert delays == [[0, 1], [0, 2], [0, 4], [0, 8], [0, 16], [0, 30], [0, 30]]


def test_a_deactivated_person_is_told_and_does_not_come_back(gateway: PlayedGateway) -> None:
    gateway.start().connected()
    gateway.close(4503)
    gateway.wait_until(lambda: gateway.last_status()["status"] == "stopped")
    assert gateway.last_status()["reason"] == "this account is deactivated"
    gateway.page.clock.fast_forward(120_000)
    assert len(gateway.connections) == 1


def test_after_a_restart_it_resumes_and_hands_out_each_notification_once(gateway: PlayedGateway) -> None:
    gateway.start().connected("c1")
    gateway.notify(1)
    gateway.notify(1)
    gateway.wait_for("notification")
    gateway.close(1012)
    gateway.come_back()
    gateway.connected("c2")
    gateway.wait_until(lambda: len(gateway.received[1]) == 2)
    assert gateway.received[1][1] == {"type": "resume", "cursor": "c1", "have": [1]}
    gateway.notify(1)
    gateway.notify(2)
    gateway.send(type="resumed", cursor="c3", replayed=2)
    gateway.wait_for("resumed")
    assert [frame["notification"]["id"] for frame in gateway.got("notification")] == [1, 2]


def test_a_connection_lost_during_the_replay_resumes_from_the_old_cursor(gateway: PlayedGateway) -> None:
    gateway.start().connected("c1")
    gateway.close(1012)
    gateway.come_back()
    gateway.connected("c2")
    gateway.send(type="pong", cursor="c9")
    gateway.close(1012)
    gateway.come_back()
    gateway.send(type="connected", user={"id": "1"}, groups=[], unread_count=0, version=2, cursor="c4")
    gateway.wait_until(lambda: len(gateway.received[2]) == 2)
    assert gateway.received[2][1]["cursor"] == "c1"


def test_a_pong_moves_the_cursor(gateway: PlayedGateway) -> None:
    gateway.start().connected("c1")
    gateway.page.clock.fast_forward(30_000)
    gateway.wait_until(lambda: {"type": "ping"} in gateway.received[0])
    gateway.send(type="pong", cursor="c2")
    gateway.page.evaluate("0")
    gateway.close(1001)
    gateway.come_back()
    gateway.send(type="connected", user={"id": "1"}, groups=[], unread_count=0, version=2, cursor="c4")
    gateway.wait_until(lambda: len(gateway.received[1]) == 2)
    assert gateway.received[1][1]["cursor"] == "c2"


def test_without_a_pong_it_gives_the_line_up_and_comes_back(gateway: PlayedGateway) -> None:
    gateway.start().connected()
    gateway.page.clock.fast_forward(30_000)
    gateway.wait_until(lambda: {"type": "ping"} in gateway.received[0])
    gateway.page.clock.fast_forward(10_000)
    gateway.wait_until(lambda: gateway.last_status()["status"] == "waiting")
    assert gateway.last_status()["reason"] == "no answer"
    gateway.come_back()


def test_back_online_it_connects_at_once(gateway: PlayedGateway) -> None:
    gateway.start().connected()
    gateway.close(1001)
    gateway.wait_until(lambda: gateway.last_status()["status"] == "waiting")
    status = gateway.page.evaluate("(dispatchEvent(new Event('online')), client.status)")
    assert status == "connecting"
    gateway.wait_for_connections(2)


def test_an_older_count_is_dropped_but_what_was_read_stays_read(gateway: PlayedGateway) -> None:
    gateway.start().connected(version=10, unread_count=4)
    gateway.send(type="state", version=30, unread_count=2, read=[1])
    gateway.send(type="state", version=20, unread_count=3, read=[2])
    newer, older = gateway.wait_for("state", 2)
    assert newer["unread_count"] == 2
    assert "unread_count" not in older
    assert older["read"] == [2]


def test_after_a_reset_the_old_cursor_is_forgotten(gateway: PlayedGateway) -> None:
    gateway.start().connected("c1")
    gateway.close(1012)
    gateway.come_back()
    gateway.connected("c2")
    gateway.send(type="reset", reason="too much was missed")
    gateway.wait_for("reset")
    gateway.close(1012)
    gateway.come_back()
    gateway.send(type="connected", user={"id": "1"}, groups=[], unread_count=0, version=2, cursor="c4")
    gateway.wait_until(lambda: len(gateway.received[2]) == 2)
    assert gateway.received[2][1]["cursor"] == "c2"


def test_ids_are_sent_five_hundred_at_a_time(gateway: PlayedGateway) -> None:
    gateway.start().connected()
    gateway.page.evaluate("client.seen([...Array(1100).keys()])")
    gateway.wait_until(lambda: len(gateway.received[0]) == 4)
    assert [len(frame["ids"]) for frame in gateway.received[0][1:]] == [500, 500, 100]


def test_a_broken_frame_harms_nothing(gateway: PlayedGateway) -> None:
    gateway.start().connected()
    gateway.connections[-1].send("{")
    gateway.send(type="of the future")
    gateway.notify(7)
    assert gateway.wait_for("notification")[0]["notification"]["id"] == 7


def test_only_web_addresses_become_links(client_page: Page) -> None:
    safe = ["https://example.org/a", "http://example.org", "/stages/7", "stages/7?a=b#c"]
    unsafe = ["javascript:alert(1)", " java\nscript:alert(1)", "data:text/html,<b>", "vbscript:x"]
    broken = ["http://[", "", None, 7, {"href": "x"}]
    found = client_page.evaluate(
        """async (links) => {
          const { safeLink } = await import("/static/format.js");
          return links.filter((link) => safeLink(link) !== null);
        }""",
        safe + unsafe + broken,
    )
    assert found == safe
