"""The page of the API, in a real Chromium: every door is there, and can be found."""

from __future__ import annotations

from flask.testing import FlaskClient
from playwright.sync_api import Page, Route, expect

ORIGIN = "http://docs.test"


def open_page(page: Page, client: FlaskClient) -> None:
    def serve(route: Route) -> None:
        answer = client.get(route.request.url.removeprefix(ORIGIN))
        route.fulfill(status=answer.status_code, headers=dict(answer.headers), body=answer.get_data())

    page.route(f"{ORIGIN}/**", serve)
    page.goto(f"{ORIGIN}/api/docs")


def test_every_door_is_shown_and_can_be_searched(page: Page, client: FlaskClient) -> None:
    open_page(page, client)
    paths = client.get("/api/openapi.json").json["paths"]
    doors = page.locator("details")
    expect(doors).to_have_count(sum(len(methods) for methods in paths.values()))

    page.get_by_role("searchbox").fill("POST something happened")
    visible = doors.filter(visible=True)
    expect(visible).to_have_count(1)
    visible.locator("summary").click()
    expect(visible.get_by_text("event_type (required)")).to_be_visible()
    expect(visible.get_by_text("rate_limited")).to_be_visible()


def test_it_says_how_to_come_in_and_shows_what_is_in_an_answer(page: Page, client: FlaskClient) -> None:
    open_page(page, client)
    expect(page.locator("#about code").filter(has_text="Authorization: Bearer <token>")).to_be_visible()
    headings = page.locator("h2")
    expect(headings.first).to_have_text("sending")
    expect(headings.last).to_have_text("auditing")
    expect(page.locator("#doors > section").filter(has=page.locator("details"))).to_have_count(headings.count())

    door = page.locator("details", has_text="/api/notifications/system-stats/")
    door.locator("summary").click()
    expect(door.get_by_role("cell", name="queue.oldest_unprocessed_seconds", exact=True)).to_be_visible()
    row = door.get_by_role("row").filter(has=page.get_by_role("cell", name="counted_at", exact=True))
    expect(row).to_contain_text("string or null")
    expect(door.locator("table.errors")).to_have_count(1)
    expect(page.locator("main", has_text="`")).to_have_count(0)


def test_a_search_that_finds_nothing_says_so(page: Page, client: FlaskClient) -> None:
    open_page(page, client)
    expect(page.locator("details").first).to_be_visible()
    page.get_by_role("searchbox").fill("zebra")
    expect(page.get_by_role("status")).to_have_text("Nothing here has “zebra” in its path or words.")
    page.get_by_role("searchbox").fill("")
    expect(page.get_by_role("status")).to_be_hidden()
