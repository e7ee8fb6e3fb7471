"""Rich messages in a real Chromium, under the pages' own policy: built from a list, never parsed as markup.

The messages here come from a gateway that cleans nothing: what is shown is safe by itself.
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from gateway.pages import CONTENT_SECURITY_POLICY
from shared.rich import clean_rich
from tests.browser.conftest import ORIGIN
from tests.shared.test_rich import ATTACKS

SHOW = """async ([message, format]) => {
  await import('/static/inbox.js');
  window.ran = false;
  window.alert = () => { window.ran = true; };
  const inbox = document.createElement('notification-inbox');
  const item = { id: 1, title: '<b>Title</b>', message, format, notification_type: 'info', category: 'X', created_at: new Date().toISOString(), is_read: false };
  const store = Object.assign(new EventTarget(), {
    items: [item], unread: 1, hasMore: false, isLoading: false, isLoaded: true, loadError: '', actionError: '',
    client: { status: 'live', reason: '', seen() {} }, start() {}, stop() {}, marked: [], markRead(id) { this.marked.push(id); },
  });
  inbox.store = store;
  document.body.replaceChildren(inbox);
  const shown = inbox.querySelector('.inbox-message');
  const tags = [...shown.querySelectorAll('*')];
  return {
    html: shown.innerHTML, text: shown.textContent, title: inbox.querySelector('.inbox-title span:last-child').textContent,
    tags: [...new Set(tags.map((element) => element.localName))],
    attributes: [...new Set(tags.flatMap((element) => element.getAttributeNames().map((name) => `${element.localName}.${name}`)))],
    links: tags.filter((element) => element.localName === 'a').map((element) => element.protocol),
    ran: window.ran,
  };
}"""


@pytest.fixture
def strict_page(client_page: Page) -> Page:
    """The blank page under the policy of our own pages, Trusted Types included."""
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    client_page.route(
        f"{ORIGIN}/strict",
        lambda route: route.fulfill(body="<!doctype html><body>", content_type="text/html", headers=headers),
    )
    client_page.goto(f"{ORIGIN}/strict")
    return client_page


def show(page: Page, message: str, text_format: str = "rich") -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(SHOW, [message, text_format])
    return found


def test_what_is_allowed_is_shown_as_elements(strict_page: Page) -> None:
    written = 'a &amp; &lt;b&gt; <b>b <i>c</i></b><br><ul><li>d</li><li><code>e</code></li></ul><a href="/x?a=1&amp;b=2">f</a> <a href="https://e.example/">g</a> 🎉'
    assert clean_rich("message", written) == written
    found = show(strict_page, written)
    assert found["html"] == written.replace('<a href="/x?', f'<a href="{ORIGIN}/x?').replace(
        '<a href="https://e.example/">', '<a href="https://e.example/" target="_blank" rel="noopener noreferrer">'
    )
    assert found["title"] == "<b>Title</b>"


def test_a_plain_message_is_text_whatever_stands_in_it(strict_page: Page) -> None:
    for text_format in ("plain", "", "RICH"):
        found = show(strict_page, "<b>x</b> &amp; <img src=x onerror=alert(1)>", text_format)
        assert (found["text"], found["tags"]) == ("<b>x</b> &amp; <img src=x onerror=alert(1)>", [])


def test_nothing_of_an_attack_becomes_more_than_text(strict_page: Page) -> None:
    """As written, uncleaned: the browser side does not rely on the gateway."""
    for attack in ATTACKS:
        found = show(strict_page, f"x{attack}y")
        assert set(found["tags"]) <= {"b", "i", "em", "strong", "a", "span", "ul", "ol", "li", "p", "br", "code"}, (
            attack
        )
        assert set(found["attributes"]) <= {"a.href", "a.target", "a.rel"}, attack
        assert set(found["links"]) <= {"http:", "https:"}, attack
        assert found["ran"] is False


def test_what_is_not_balanced_or_very_deep_is_still_shown(strict_page: Page) -> None:
    assert show(strict_page, "</b>a<b>b</i>c</b>d</p>")["html"] == "a<b>bc</b>d"
    deep = show(strict_page, "<b>" * 1000 + "x" + "</b>" * 1000 + "y")
    assert deep["text"] == "xy"


def test_a_link_in_a_rich_message_marks_it_read(strict_page: Page) -> None:
    show(strict_page, '<a href="/static/nowhere">f</a>')
    marked = strict_page.evaluate("""() => {
      const link = document.querySelector('.inbox-message a');
      link.addEventListener('click', (event) => event.preventDefault());
      link.click();
      return document.querySelector('notification-inbox').store.marked;
    }""")
    assert marked == [1]
