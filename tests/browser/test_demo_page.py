"""The page a new user sees, in a real Chromium, before the real gateway and its workers."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from shared.database import transaction
from shared.doorbell import ring
from shared.events import EventDraft, record_event
from shared.seed import seed_demo
from shared.tasks import PROCESS_EVENT
from tests.system import System

ROLES = ("stagiaire", "tuteur", "rh", "admin")
# Above this machine's usual 5 s for starting a gateway, and the client's delays while it is away.
COME_BACK_MILLISECONDS = 60_000

Inboxes = dict[str, Locator]


@pytest.fixture
def demo(system: System) -> System:
    """The running system with the demonstration company in it."""
    seed_demo(system.settings)
    return system


@pytest.fixture
def inboxes(demo: System, page: Page) -> Inboxes:
    """The four inboxes of the open page, all live."""
    return open_demo(demo, page)


def open_demo(system: System, page: Page) -> Inboxes:
    page.goto(system.base_url)
    found = {role: page.locator(f'notification-inbox[data-role="{role}"]') for role in ROLES}
    for inbox in found.values():
        expect(inbox.get_by_text("Live", exact=True)).to_be_visible()
        expect(inbox.locator(".inbox-scroller")).to_have_attribute("aria-busy", "false")
    return found


def send(page: Page, title: str, *roles: str, message: str = "Message") -> None:
    """Fill in the form for these roles and send it."""
    page.get_by_label("Roles", exact=True).check()
    for role in ROLES:
        page.locator("#roles").get_by_label(role, exact=True).set_checked(role in roles)
    page.get_by_label("Title", exact=True).fill(title)
    page.get_by_label("Message", exact=True).fill(message)
    page.get_by_role("button", name="Send", exact=True).click()


def item(inbox: Locator, title: str) -> Locator:
    return inbox.get_by_role("listitem").filter(has_text=title)


def badge(inbox: Locator) -> Locator:
    return inbox.locator(".inbox-badge")


def record(system: System, title: str, *audience: str, **draft: Any) -> int:
    """What a producer does: one event, and the doorbell."""
    words = {"title": title, "message": "Message", **draft}
    with transaction(system.settings) as session:
        event = record_event(session, EventDraft(audience=list(audience), **words), system.settings)
    ring(PROCESS_EVENT, system.settings)
    return event.id


def person_of(page: Page, role: str) -> str:
    subheading = page.locator(f'notification-inbox[data-role="{role}"] .inbox-subheading')
    return subheading.inner_text().split("user_")[1]


def test_a_role_event_is_in_the_two_inboxes_it_names_and_in_no_other(page: Page, inboxes: Inboxes) -> None:
    send(page, "Rapport PFE", "tuteur", "rh")
    for role in ("tuteur", "rh"):
        expect(item(inboxes[role], "Rapport PFE")).to_be_visible()
        expect(badge(inboxes[role])).to_have_text("1")
    expect(page.get_by_role("status").filter(has_text="Sent: event")).to_contain_text("tuteur, rh")
    send(page, "Fin", *ROLES)  # what should not have come would have come before this
    for role in ("stagiaire", "admin"):
        expect(item(inboxes[role], "Fin")).to_be_visible()
        expect(item(inboxes[role], "Rapport PFE")).to_have_count(0)
        expect(badge(inboxes[role])).to_have_text("1")


def test_a_stage_one_person_and_everyone_can_be_sent_to(page: Page, inboxes: Inboxes) -> None:
    def send_to(target: str, title: str) -> None:
        page.get_by_label(target, exact=True).first.check()
        page.get_by_label("Title", exact=True).fill(title)
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.locator("#result")).to_contain_text("Reached")

    send_to("A stage", "Pour le stage")
    page.get_by_label("One person", exact=True).check()
    page.locator("select[name=person]").select_option(index=2)
    send_to("One person", "Pour une personne")
    send_to("Everyone", "Pour tous")
    expected = {
        "stagiaire": ["Pour tous", "Pour le stage"],
        "tuteur": ["Pour tous", "Pour le stage"],
        "rh": ["Pour tous", "Pour une personne"],
        "admin": ["Pour tous"],
    }
    for role, titles in expected.items():
        expect(inboxes[role].locator(".inbox-title > :last-child")).to_have_text(titles)


def test_what_is_read_in_one_tab_is_read_in_the_other(
    demo: System, browser: Browser, page: Page, inboxes: Inboxes
) -> None:
    with browser.new_context() as other_context:
        other = open_demo(demo, other_context.new_page())
        send(page, "À lire", "rh")
        for inbox in (inboxes["rh"], other["rh"]):
            expect(badge(inbox)).to_have_text("1")
        item(inboxes["rh"], "À lire").get_by_role("button", name="Mark as read").click()
        expect(item(other["rh"], "À lire")).to_have_attribute("data-unread", "false")
        expect(badge(other["rh"])).to_be_hidden()

        item(other["rh"], "À lire").get_by_role("button", name="Delete").click()
        expect(item(inboxes["rh"], "À lire")).to_have_count(0)


def test_all_read_and_all_cleared_reach_the_other_tab_too(
    demo: System, browser: Browser, page: Page, inboxes: Inboxes
) -> None:
    with browser.new_context() as other_context:
        other = open_demo(demo, other_context.new_page())["admin"]
        for title in ("Un", "Deux"):
            send(page, title, "admin")
        expect(badge(other)).to_have_text("2")
        inboxes["admin"].get_by_role("button", name="Mark all read").click()
        expect(badge(other)).to_be_hidden()
        inboxes["admin"].get_by_role("button", name="Clear all").click()
        inboxes["admin"].get_by_role("button", name="Really clear?").click()
        expect(other.get_by_text("Nothing here yet")).to_be_visible()


def test_markup_of_a_producer_is_shown_as_text_and_never_runs(page: Page, inboxes: Inboxes) -> None:
    evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    send(page, evil, "stagiaire", message=f"<b>{evil}</b>")
    expect(item(inboxes["stagiaire"], evil).locator(".inbox-message")).to_have_text(f"<b>{evil}</b>")
    assert inboxes["stagiaire"].locator("img, script, b").count() == 0
    assert page.evaluate("window.hacked") is None


def test_a_link_is_a_link(demo: System, page: Page, inboxes: Inboxes) -> None:
    record(demo, "Voir le stage", "role_admin", link="/stages/7")
    link = item(inboxes["admin"], "Voir le stage").get_by_role("link")
    expect(link).to_have_attribute("href", re.compile(r"^http://.*/stages/7$"))


def test_a_killed_gateway_comes_back_and_what_was_missed_is_there_once(
    demo: System, page: Page, inboxes: Inboxes
) -> None:
    send(page, "Avant", "rh")
    expect(item(inboxes["rh"], "Avant")).to_be_visible()
    page.evaluate(COUNT_ARRIVALS, "rh")
    demo.kill("web", signal.SIGKILL)
    expect(inboxes["rh"].get_by_text("Reconnecting…")).to_be_visible()
    missed = record(demo, "Pendant", "role_rh")
    demo.start("web")
    expect(item(inboxes["rh"], "Pendant")).to_be_visible(timeout=COME_BACK_MILLISECONDS)
    for inbox in inboxes.values():
        expect(inbox.get_by_text("Live", exact=True)).to_be_visible(timeout=COME_BACK_MILLISECONDS)
    send(page, "Après", "rh")
    expect(item(inboxes["rh"], "Après")).to_be_visible()
    titles = inboxes["rh"].locator(".inbox-title > :last-child")
    expect(titles).to_have_text(["Après", "Pendant", "Avant"])
    expect(badge(inboxes["rh"])).to_have_text("3")
    # The frame itself came, by resume: the list alone would have shown it too.
    assert page.evaluate("window.arrivals").count(missed) == 1


COUNT_ARRIVALS = """(role) => {
  window.arrivals = [];
  const { client } = document.querySelector(`notification-inbox[data-role="${role}"]`).store;
  for (const type of ["notification", "role_notification", "system_message"]) {
    client.addEventListener(type, ({ detail }) => arrivals.push(detail.notification.id));
  }
}"""


def test_older_notifications_are_loaded_a_page_at_a_time(demo: System, page: Page, inboxes: Inboxes) -> None:
    for number in range(25):
        record(demo, f"Numéro {number}", f"user_{person_of(page, 'admin')}")
    expect(badge(inboxes["admin"])).to_have_text("25")
    inboxes = open_demo(demo, page)
    rows = inboxes["admin"].get_by_role("listitem")
    expect(rows).to_have_count(20)
    inboxes["admin"].get_by_role("button", name="Load more").click()
    expect(rows).to_have_count(25)
    expect(inboxes["admin"].get_by_role("button", name="Load more")).to_be_hidden()


def test_an_inbox_is_used_with_the_keyboard_alone(page: Page, inboxes: Inboxes) -> None:
    for title in ("Un", "Deux", "Trois"):
        send(page, title, "tuteur")
        expect(item(inboxes["tuteur"], title)).to_be_visible()
    inboxes["tuteur"].get_by_role("button", name="Clear all").focus()
    page.keyboard.press("Tab")
    expect(button(inboxes, "Mark as read: Trois")).to_be_focused()
    page.keyboard.press("Enter")
    expect(badge(inboxes["tuteur"])).to_have_text("2")
    expect(button(inboxes, "Delete: Trois")).to_be_focused()
    page.keyboard.press("Space")
    expect(item(inboxes["tuteur"], "Trois")).to_have_count(0)
    expect(button(inboxes, "Delete: Deux")).to_be_focused()


def button(inboxes: Inboxes, name: str) -> Locator:
    return inboxes["tuteur"].get_by_role("button", name=name)


def test_what_the_server_refuses_is_said_at_the_field_it_names(page: Page, inboxes: Inboxes) -> None:
    send(page, "", "rh")
    expect(page.locator("#result")).to_contain_text("title")
    expect(page.get_by_label("Title", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Title", exact=True)).to_be_focused()
    send(page, "Sans destinataire")
    expect(page.locator("#result")).to_contain_text("target_roles")
    send(page, "Bien", "rh")
    expect(item(inboxes["rh"], "Bien")).to_be_visible()
    expect(page.locator("[aria-invalid]")).to_have_count(0)


@pytest.mark.parametrize("width", [1440, 800, 390])
def test_the_page_fits_every_width(demo: System, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    inboxes = open_demo(demo, page)
    send(page, "x" * 200, "admin", message="y" * 500)
    expect(item(inboxes["admin"], "xxx")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_whoever_has_a_session_finds_their_inbox_on_the_plain_page(demo: System, page: Page, inboxes: Inboxes) -> None:
    log_in(page)
    page.set_extra_http_headers({"X-Forwarded-For": "203.0.113.9"})  # no demonstration for a proxy's
    page.goto(demo.base_url)
    inbox = page.locator("notification-inbox")
    expect(inbox.get_by_text("Live", exact=True)).to_be_visible()
    record(demo, "Par session", "role_rh")
    expect(item(inbox, "Par session")).to_be_visible()
    item(inbox, "Par session").get_by_role("button", name="Mark as read").click()
    expect(badge(inbox)).to_be_hidden()
    page.reload()
    expect(item(inbox, "Par session")).to_have_attribute("data-unread", "false")


def log_in(page: Page) -> None:
    """Trade the rh person's token for a session cookie, as an application's page would."""
    status = page.evaluate(
        """async () => {
          const { people } = await (await fetch("/api/demo/")).json();
          const { token } = people.find((person) => person.role === "rh");
          const headers = { Authorization: `Bearer ${token}` };
          return (await fetch("/api/session/", { method: "POST", headers })).status;
        }"""
    )
    assert status == 201


def test_a_picture_and_what_can_be_done_are_shown_and_nothing_else_of_them_runs(
    page: Page, inboxes: Inboxes, demo: System
) -> None:
    actions = [
        {"label": "Voir le rapport", "link": "/api/docs"},
        {"label": "Ailleurs", "link": "https://example.org/a"},
    ]
    record(demo, "Avec image", "role_rh", image="/static/favicon.svg", actions=actions)
    record(demo, "Sans image", "role_rh", image="/static/there-is-none.png")
    shown = item(inboxes["rh"], "Avec image")
    picture = shown.locator("img.inbox-image")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    expect(item(inboxes["rh"], "Sans image").locator("img")).to_have_count(0)

    other = shown.get_by_role("link", name="Ailleurs")
    expect(other).to_have_attribute("rel", "noopener noreferrer")
    expect(badge(inboxes["rh"])).to_have_text("2")
    shown.get_by_role("link", name="Voir le rapport").click()
    page.wait_for_url("**/api/docs")
    page.go_back()
    expect(badge(inboxes["rh"])).to_have_text("1")


def test_a_long_message_is_folded_until_it_is_asked_for(page: Page, inboxes: Inboxes, demo: System) -> None:
    record(demo, "Long", "role_rh", message="Une phrase assez longue pour un écran étroit. " * 40)
    shown = item(inboxes["rh"], "Long")
    message = shown.locator(".inbox-message")
    folded = message.evaluate("one => one.clientHeight")
    shown.get_by_role("button", name="Show all").click()
    assert message.evaluate("one => one.clientHeight") > 2 * folded
    shown.get_by_role("button", name="Show less").click()
    assert message.evaluate("one => one.clientHeight") == folded
