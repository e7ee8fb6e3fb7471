"""A real Chromium for the tests of the browser side, driven by Playwright.

`client_page` is an empty page whose only server is the test: the modules come from gateway/static, the
WebSocket and the API are answered by the test, and the clock is in its hands.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from tests.company import Company
from tests.system import System

STATIC = Path(__file__).parents[2] / "gateway" / "static"
ORIGIN = "http://client.test"
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MISSING = "no Chromium: install it (Debian: apt-get install chromium) to run the browser tests"


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, started once; where it is missing the test is skipped.

    Ended after these tests: Playwright's event loop is the thread's own, and Django refuses to work beside one.
    """
    executable = next((path for path in map(shutil.which, NAMES) if path), None)
    if executable is None:
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own; any script error or refusal by the content security policy fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(15_000)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: "Content Security Policy" in message.text and faults.append(message.text))
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def sign_in(page: Page, system: System, company: Company) -> Callable[[str], None]:
    """Give the page's browser a session of this person, as the application's login would."""

    def sign_in(person: str) -> None:
        answer = httpx.post(f"{system.base_url}/api/session/", headers=company.bearer(person)).raise_for_status()
        cookies = [{"name": name, "value": value, "url": system.base_url} for name, value in answer.cookies.items()]
        page.context.add_cookies(cookies)  # type: ignore[arg-type]

    return sign_in


@pytest.fixture
def client_page(page: Page) -> Page:
    """A blank page of ORIGIN that can import our modules from /static/."""
    page.route(f"{ORIGIN}/**", serve_static)
    page.clock.install()
    page.goto(ORIGIN)
    return page


def serve_static(route: Route) -> None:
    """A module of /static/, of any origin; a blank page for every other address."""
    name = route.request.url.partition("/static/")[2]
    if (STATIC / name).is_file():
        route.fulfill(path=STATIC / name, content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html><title>client</title>", content_type="text/html")
