"""The page of the API, in a real Chromium: every door is there, and can be found."""

from __future__ import annotations

from flask.testing import FlaskClient
from playwright.sync_api import Page, Route, expect

ORIGIN = "http://docs.test"


def test_every_door_is_shown_and_can_be_searched(page: Page, client: FlaskClient) -> None:
    def serve(route: Route) -> None:
        answer = client.get(route.request.url.removeprefix(ORIGIN))
        route.fulfill(status=answer.status_code, headers=dict(answer.headers), body=answer.get_data())

    page.route(f"{ORIGIN}/**", serve)
    page.goto(f"{ORIGIN}/api/docs")
    paths = client.get("/api/openapi.json").json["paths"]
    doors = page.locator("details")
    expect(doors).to_have_count(sum(len(methods) for methods in paths.values()))

    page.get_by_role("searchbox").fill("POST something happened")
    visible = doors.filter(visible=True)
    expect(visible).to_have_count(1)
    visible.locator("summary").click()
    expect(visible.get_by_text("event_type (required)")).to_be_visible()
    expect(visible.get_by_text("rate_limited")).to_be_visible()
