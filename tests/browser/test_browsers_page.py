"""docs/browsers.md is true: a page gets its session cookie as printed, and one of another origin has its inbox."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from producer import NotificationService
from tests.browser.conftest import serve_static
from tests.company import Company
from tests.system import ROOT, System

SIGN_IN, ELSEWHERE = re.findall(r"```js\n(.*?)```", (ROOT / "docs" / "browsers.md").read_text(), re.DOTALL)[1:]
ORIGIN = "http://app.localhost"  # a secure context, which Chromium wants of a page that asks this machine
IMPORTS = """
import { NotificationApi } from "/static/api.js";
import { NotificationClient } from "/static/client.js";
import { InboxStore } from "/static/store.js";
"""


@pytest.fixture
def system_for_others(system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """The system, whose gateway lets pages of ORIGIN in; the next test starts another."""
    monkeypatch.setenv("ALLOWED_ORIGINS", ORIGIN)
    system.kill("web")
    system.start_missing()
    yield system
    system.kill("web")


def test_a_page_gets_its_session_cookie(system: System, company: Company, page: Page) -> None:
    company.person("1", "role_rh")
    page.goto(f"{system.base_url}/api/docs")
    page.evaluate(f"async (token) => {{ {SIGN_IN} }}", company.token("1"))
    shown = page.evaluate("fetch('/api/session/').then((answer) => answer.json())")
    assert shown["user"]["id"] == "1"
    assert shown["csrf_token"]


def test_a_page_of_another_origin_lists_and_reads_and_is_live(
    system_for_others: System, company: Company, page: Page
) -> None:
    company.person("1", "role_rh")
    company.notify("1", title="Avant")
    address = system_for_others.base_url
    code = ELSEWHERE.replace("https://notify.example.org", address)
    code = code.replace("wss://notify.example.org", address.replace("http", "ws"))
    token = f"const getToken = async () => {company.token('1')!r};\n"
    page.context.grant_permissions(["local-network-access"])  # Chromium takes what a test serves for a public page
    page.route(f"{ORIGIN}/**", serve_static)
    page.goto(f"{ORIGIN}/")
    page.add_script_tag(type="module", content=f"{IMPORTS}{token}{code}store.start(); window.store = store;")
    page.wait_for_function("() => window.store?.getSnapshot().notifications.length === 1")
    page.wait_for_function("() => store.client.status === 'live'")
    sent = NotificationService().send_role_notifications(["rh"], "En direct", "M")
    page.wait_for_function("() => store.getSnapshot().notifications.length === 2")
    page.evaluate("(id) => store.markRead(id)", sent.id)
    page.wait_for_function("() => store.getSnapshot().unreadCount === 1")
