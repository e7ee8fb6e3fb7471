"""store.js: what is shown while the server is asked, refuses, or tells of something at the same moment."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

START = """async () => {
  const { InboxStore } = await import("/static/store.js");
  Math.random = () => 0;
  class Client extends EventTarget { connect() {} close() {} }
  window.client = new Client();
  window.tell = (type, detail) => client.dispatchEvent(new CustomEvent(type, { detail }));
  window.item = (id, is_read = false) => ({ id, title: `n${id}`, is_read });
  window.asked = [];
  window.waiting = [];
  // Every call waits until the test answers it, oldest first.
  const call = (name) => (given) => {
    asked.push(name);
    return new Promise((resolve, reject) => waiting.push({ name, resolve, reject }));
  };
  const names = ["list", "unreadCount", "markRead", "markAllRead", "delete", "clearAll"];
  window.answer = async (name, value, fails = false) => {
    const index = waiting.findIndex((call) => call.name === name);
    const [{ resolve, reject }] = waiting.splice(index, 1);
    (fails ? reject : resolve)(fails ? Object.assign(new Error(value), { status: fails }) : value);
    await new Promise((done) => queueMicrotask(() => queueMicrotask(done)));
    await null;
  };
  window.store = new InboxStore({ client, api: Object.fromEntries(names.map((name) => [name, call(name)])) });
  window.shown = () => ({
    items: store.items.map(({ id, is_read }) => [id, is_read]),
    unread: store.unread, error: store.actionError || store.loadError,
  });
}"""


@pytest.fixture
def store(client_page: Page) -> Page:
    client_page.evaluate(START)
    return client_page


@pytest.fixture
def loaded(store: Page) -> Page:
    """Notifications 3 (unread), 2 (unread) and 1 (read), connected."""
    store.evaluate("tell('connected', { unread_count: 2, version: 1, resuming: false })")
    store.evaluate("answer('list', { results: [item(3), item(2), item(1, true)], next: null })")
    store.evaluate("answer('unreadCount', { unread_count: 2, version: 2 })")
    assert _shown(store) == {"items": [[3, False], [2, False], [1, True]], "unread": 2, "error": ""}
    return store


def _shown(page: Page) -> Any:
    return page.evaluate("shown()")


def test_an_action_shows_before_the_server_answers(loaded: Page) -> None:
    loaded.evaluate("void store.markRead(3)")
    assert _shown(loaded) == {"items": [[3, True], [2, False], [1, True]], "unread": 1, "error": ""}


def test_what_the_server_refuses_is_taken_back_and_said(loaded: Page) -> None:
    for action in ("markRead(3)", "delete(2)", "markAllRead()", "clearAll()"):
        call = action.partition("(")[0]
        loaded.evaluate(f"void store.{action}")
        assert _shown(loaded)["unread"] < 2
        loaded.evaluate("(name) => answer(name, 'the database is away', 503)", call)
        shown = _shown(loaded)
        assert shown["items"] == [[3, False], [2, False], [1, True]]
        assert shown["unread"] == 2
        assert "the database is away" in shown["error"]


def test_read_is_counted_once_whether_the_answer_or_the_frame_comes_first(loaded: Page) -> None:
    loaded.evaluate("void store.markRead(3)")
    loaded.evaluate("tell('state', { read: [3], unread_count: 1, version: 5 })")
    assert _shown(loaded)["unread"] == 1
    loaded.evaluate("answer('markRead', {})")
    assert _shown(loaded)["unread"] == 1
    loaded.evaluate("void store.markRead(2)")
    loaded.evaluate("answer('markRead', { unread_count: 0, version: 7 })")
    loaded.evaluate("tell('state', { read: [2], unread_count: 0, version: 8 })")
    assert _shown(loaded) == {"items": [[3, True], [2, True], [1, True]], "unread": 0, "error": ""}


def test_deleting_what_another_tab_deleted_is_fine(loaded: Page) -> None:
    loaded.evaluate("void store.delete(3)")
    loaded.evaluate("answer('delete', 'you have no notification 3', 404)")
    assert _shown(loaded) == {"items": [[2, False], [1, True]], "unread": 1, "error": ""}


def test_what_arrives_after_the_click_is_not_marked_read_by_it(loaded: Page) -> None:
    loaded.evaluate("void store.markAllRead()")
    loaded.evaluate("tell('notification', { notification: item(4), resuming: false })")
    assert _shown(loaded)["unread"] == 1
    loaded.evaluate("answer('markAllRead', {})")
    assert _shown(loaded) == {"items": [[4, False], [3, True], [2, True], [1, True]], "unread": 1, "error": ""}


def test_what_arrives_while_the_list_loads_is_kept(store: Page) -> None:
    store.evaluate("tell('connected', { unread_count: 1, version: 1, resuming: false })")
    store.evaluate("tell('notification', { notification: item(9), resuming: false })")
    store.evaluate("answer('list', { results: [item(3)], next: null })")
    store.evaluate("answer('unreadCount', { unread_count: 2, version: 2 })")
    assert _shown(store)["items"] == [[9, False], [3, False]]


def test_a_list_that_may_be_older_than_a_change_is_loaded_again(store: Page) -> None:
    store.evaluate("tell('connected', { unread_count: 1, version: 1, resuming: false })")
    store.evaluate("tell('state', { read: [3], unread_count: 0, version: 5 })")
    store.evaluate("answer('list', { results: [item(3)], next: null })")
    store.evaluate("answer('unreadCount', { unread_count: 1, version: 2 })")
    store.clock.fast_forward(1_000)
    assert store.evaluate("asked.filter((name) => name === 'list').length") == 2
    assert _shown(store)["unread"] == 0


def test_a_notification_twice_is_shown_and_counted_once(loaded: Page) -> None:
    for _ in range(2):
        loaded.evaluate("tell('role_notification', { notification: item(4), resuming: false })")
    assert _shown(loaded)["items"][0] == [4, False]
    assert _shown(loaded)["unread"] == 3


def test_a_replay_does_not_count_what_the_new_connection_has_counted(loaded: Page) -> None:
    loaded.evaluate("tell('connected', { unread_count: 3, version: 9, resuming: true })")
    loaded.evaluate("tell('notification', { notification: item(4), resuming: true })")
    assert _shown(loaded)["unread"] == 3
    loaded.evaluate("tell('resumed', {})")
    loaded.clock.fast_forward(3_000)
    loaded.evaluate("answer('list', { results: [item(4), item(3), item(2)], next: null })")
    loaded.evaluate("answer('unreadCount', { unread_count: 3, version: 10 })")
    assert _shown(loaded) == {"items": [[4, False], [3, False], [2, False]], "unread": 3, "error": ""}


def test_the_count_of_the_server_replaces_the_guess(loaded: Page) -> None:
    loaded.evaluate("tell('state', { unread_count: 3, version: 20 })")  # 4 is in it already
    loaded.evaluate("tell('notification', { notification: item(4), resuming: false })")
    loaded.evaluate("tell('state', { unread_count: 3, version: 21 })")
    assert _shown(loaded)["unread"] == 3


def test_a_list_that_cannot_be_loaded_says_why_and_loads_on_demand(store: Page) -> None:
    store.evaluate("tell('connected', { unread_count: 1, version: 1, resuming: false })")
    store.evaluate("answer('list', 'the database is away', 503)")
    assert _shown(store)["error"] == "the database is away"
    store.evaluate("waiting.length = 0, void store.load()")
    store.evaluate("answer('list', { results: [item(3)], next: null })")
    store.evaluate("answer('unreadCount', { unread_count: 1, version: 2 })")
    assert _shown(store) == {"items": [[3, False]], "unread": 1, "error": ""}


def test_a_snapshot_is_the_same_until_something_changes_and_then_another(loaded: Page) -> None:
    loaded.evaluate(
        "({ getSnapshot, subscribe } = store, told = 0, end = subscribe(() => told++), first = getSnapshot())"
    )
    assert loaded.evaluate("getSnapshot() === first")
    loaded.evaluate("void store.markRead(3)")
    assert loaded.evaluate("[told, getSnapshot() === first, getSnapshot() === getSnapshot()]") == [1, False, True]
    assert loaded.evaluate("[first, getSnapshot()].map((one) => [one.unreadCount, one.notifications[0].is_read])") == [
        [2, False],
        [1, True],
    ], "what was handed out before stays as it was"
    loaded.evaluate("second = getSnapshot(), tell('notification', { notification: item(4), resuming: false })")
    assert loaded.evaluate("[told, getSnapshot() === second, getSnapshot().notifications.length]") == [2, False, 4]


def test_who_ends_a_subscription_hears_nothing_more_and_others_do(loaded: Page) -> None:
    loaded.evaluate("told = 0, listener = () => told++, ends = [store.subscribe(listener), store.subscribe(listener)]")
    loaded.evaluate("ends[0](), ends[0](), void store.markRead(3)")
    assert loaded.evaluate("told") == 1
    loaded.evaluate("ends[1](), void store.markRead(2)")
    assert loaded.evaluate("told") == 1


def test_without_a_live_connection_the_list_is_asked_for_all_the_same(store: Page) -> None:
    def asked_after(seconds: int) -> int:
        store.clock.fast_forward(1000 * seconds)
        return int(store.evaluate("asked.filter((name) => name === 'list').length"))

    store.evaluate("client.status = 'connecting', store.start()")
    assert [asked_after(2), asked_after(1)] == [0, 1]
    store.evaluate("answer('list', { results: [item(3)], next: null })")
    store.evaluate("answer('unreadCount', { unread_count: 1, version: 2 })")
    assert _shown(store)["items"] == [[3, False]]
    store.evaluate("client.status = 'waiting'")
    assert [asked_after(30), asked_after(30)] == [2, 3]
    for status in ("live", "stopped"):  # what is live is told; who was refused has nothing to ask for
        store.evaluate("(status) => client.status = status", status)
        assert asked_after(60) == 3
    store.evaluate("client.status = 'waiting', store.stop()")
    assert asked_after(60) == 3
