"""The hook of docs/browsers.md, as printed there, before the real gateway: all that the document's component uses.

React itself is not installed: `REACT` does with a store what its useSyncExternalStore does, and complains of the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route

from producer import NotificationService
from tests.company import Company
from tests.system import ROOT, System, wait_until

HOOK = re.findall(r"```js\n(import .*?)```", (ROOT / "docs" / "browsers.md").read_text(), re.DOTALL)[0]
COMPONENT = (ROOT / "tests" / "journeys" / "document" / "notification_bell.tsx").read_text()
REACT = """
let rendered;
let end;
export function useSyncExternalStore(subscribe, getSnapshot) {
  rendered = getSnapshot();
  if (!Object.is(rendered, getSnapshot())) throw new Error("The result of getSnapshot should be cached");
  end ??= subscribe(() => Object.is(rendered, getSnapshot()) || window.render());
  window.unmount = end;
  return rendered;
}
"""
PAGE = """<!doctype html><title>app</title>
<script type="importmap">{"imports": {"react": "/app/react.js"}}</script>
<script type="module">
  import { useNotifications } from "/app/use-notifications.js";
  window.renders = 0;
  window.render = () => { window.shown = useNotifications(); window.renders++; };
  window.render();
</script>"""


@pytest.fixture
def app(system: System, company: Company, page: Page, sign_in: Callable[[str], None]) -> Page:
    """An application's page of person 1, who is signed in and has one notification."""
    company.person("1", "role_stagiaire")
    company.person("2", "role_rh")
    company.notify("1", title="Avant", message="Déjà là")
    company.notify("2", title="D’une autre", message="M")
    sign_in("1")
    page.context.grant_permissions(["local-network-access"])  # Chromium takes what a test serves for a public page
    page.route(f"{system.base_url}/app/**", serve)
    page.goto(f"{system.base_url}/app/")
    wait_for(page, "shown.notifications.length === 1")
    return page


def serve(route: Route) -> None:
    name = route.request.url.rpartition("/")[2]
    kind = "text/javascript" if name else "text/html"
    route.fulfill(body={"react.js": REACT, "use-notifications.js": HOOK, "": PAGE}[name], content_type=kind)


def wait_for(page: Page, condition: str) -> None:
    page.wait_for_function(f"() => window.shown && {condition}")


def titles(page: Page) -> list[str]:
    return list(page.evaluate("shown.notifications.map(({ title }) => title)"))


def test_it_gives_every_name_and_field_that_the_document_s_component_uses(app: Page) -> None:
    (given,) = re.findall(r"const {(.*?)} = useNotifications\(\)", COMPONENT)
    assert {name.strip() for name in given.split(",")} == set(app.evaluate("Object.keys(shown)"))
    fields = set(re.findall(r"notification\.(\w+)", COMPONENT))
    assert fields == {"id", "title", "message", "is_read", "created_at"}
    item: dict[str, Any] = app.evaluate("shown.notifications[0]")
    assert fields <= item.keys()
    assert (item["title"], item["message"], item["is_read"]) == ("Avant", "Déjà là", False)
    assert app.evaluate("new Date(shown.notifications[0].created_at).toLocaleDateString()") != "Invalid Date"


def test_what_arrives_is_rendered_and_what_is_read_is_read_everywhere(
    system: System, company: Company, app: Page
) -> None:
    service = NotificationService()
    service.send_role_notifications(["rh"], "Pour une autre", "M").wait()
    sent = service.send_role_notifications(["stagiaire"], "En direct", "M")
    wait_for(app, "shown.unreadCount === 2")
    assert titles(app) == ["En direct", "Avant"]

    app.evaluate("id => void shown.markAsRead(id)", sent.id)
    wait_for(app, "shown.unreadCount === 1 && shown.notifications[0].is_read && !shown.notifications[1].is_read")
    address = f"{system.base_url}/api/notifications/notifications/{sent.id}/"
    wait_until(lambda: httpx.get(address, headers=company.bearer("1")).json()["is_read"], "the server knows")
