"""An inbox behind a proxy that lets no WebSocket through, before the real gateway: everything works, only later."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from producer import NotificationService
from tests.browser.test_demo_page import badge, item
from tests.company import Company
from tests.system import System

COME_BACK = 4000


def test_list_actions_and_what_is_new_come_over_rest_and_nothing_of_anyone_else(
    system: System, company: Company, page: Page, sign_in: Callable[[str], None]
) -> None:
    company.person("1", "role_stagiaire")
    company.person("2", "role_rh")
    company.notify("1", title="Avant", message="Déjà là")
    sign_in("1")
    page.set_extra_http_headers({"X-Forwarded-For": "203.0.113.9"})  # a proxy's visitor gets the plain page
    page.route_web_socket("**/ws/notifications/", lambda socket: socket.close(code=COME_BACK))
    page.clock.install()
    page.goto(system.base_url)
    inbox = page.locator("notification-inbox")
    expect(inbox.locator(".inbox-status-text")).to_have_text("Reconnecting…")
    page.clock.fast_forward(3_000)
    expect(item(inbox, "Avant")).to_be_visible()
    item(inbox, "Avant").get_by_role("button", name="Mark as read").click()
    expect(badge(inbox)).to_be_hidden()

    service = NotificationService()
    service.send_role_notifications(["rh"], "Pour une autre", "M").wait()
    service.send_role_notifications(["stagiaire"], "Entre-temps", "M").wait()
    page.clock.fast_forward(30_000)
    expect(item(inbox, "Entre-temps")).to_be_visible()
    expect(badge(inbox)).to_have_text("1")
    expect(inbox.get_by_role("listitem")).to_have_count(2)
    expect(inbox.get_by_text("Live", exact=True)).to_be_hidden()
