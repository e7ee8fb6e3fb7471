"""Browser sessions: cookies for a bearer token, and writes that another site can't make."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.sessions import CSRF_COOKIE, CSRF_HEADER, SESSION_COOKIE

SESSION = "/api/session/"
UNREAD = "/api/notifications/notifications/unread-count/"
READ_ALL = "/api/notifications/notifications/mark-all-read/"


@pytest.fixture
def browser(client, company):
    """A client that is logged in as 42 by cookie; its CSRF value."""
    company.person("42", "role_rh")
    answer = client.post(SESSION, headers=company.bearer("42"))
    assert answer.status_code == 201
    return client, answer.json["csrf_token"]


def cookie_headers(answer):
    return {line.partition("=")[0]: line for line in answer.headers.getlist("Set-Cookie")}


def test_a_bearer_token_buys_cookies_that_scripts_of_other_sites_never_see(client, company):
    company.person("42", "role_rh")
    answer = client.post(SESSION, headers=company.bearer("42"))

    assert answer.json["user"] == {"id": "42", "name": "Person 42", "roles": ["rh"], "locale": None}
    cookies = cookie_headers(answer)
    assert "HttpOnly" in cookies[SESSION_COOKIE]
    assert "SameSite=Lax" in cookies[SESSION_COOKIE]
    assert "Secure" not in cookies[SESSION_COOKIE]
    assert "HttpOnly" not in cookies[CSRF_COOKIE]
    assert answer.json["csrf_token"] in cookies[CSRF_COOKIE]


@pytest.mark.parametrize("how", [{"base_url": "https://localhost"}, {"headers": {"X-Forwarded-Proto": "https"}}])
def test_over_https_the_cookies_stay_on_https(how, client, company):
    company.person("42")
    headers = {**company.bearer("42"), **how.get("headers", {})}
    answer = client.post(SESSION, headers=headers, base_url=how.get("base_url"))
    assert all("Secure" in line for line in cookie_headers(answer).values())


def test_the_cookie_reads_without_a_csrf_value(browser):
    client, _ = browser
    assert client.get(UNREAD).status_code == 200


def test_the_page_is_told_its_csrf_value_again_after_a_reload(browser):
    client, csrf = browser
    answer = client.get(SESSION)
    assert (answer.json["user"]["id"], answer.json["csrf_token"]) == ("42", csrf)


@pytest.mark.parametrize("sent", [None, "", "wrong", "é"])
def test_a_write_by_cookie_without_the_csrf_value_is_refused(sent, browser, company):
    client, _ = browser
    company.notify("42")
    answer = client.post(READ_ALL, headers={} if sent is None else {CSRF_HEADER: sent})
    assert answer.status_code == 403
    assert answer.json["error"]["details"]["reason"] == "csrf"
    assert client.get(UNREAD).json["unread_count"] == 1


def test_a_write_by_cookie_with_the_csrf_value_works(browser, company):
    client, csrf = browser
    company.notify("42")
    assert client.post(READ_ALL, headers={CSRF_HEADER: csrf}).json["updated"] == 1


def test_the_csrf_value_of_another_session_is_refused(browser, company):
    client, _ = browser
    other = client.application.test_client().post(SESSION, headers=company.bearer("42")).json["csrf_token"]
    assert client.post(READ_ALL, headers={CSRF_HEADER: other}).status_code == 403


def test_a_bearer_write_needs_no_csrf_value(client, company):
    company.person("42")
    assert client.post(READ_ALL, headers=company.bearer("42")).status_code == 200


def test_a_bad_authorization_header_is_refused_beside_a_good_cookie(browser):
    client, _ = browser
    assert client.get(UNREAD, headers={"Authorization": "Bearer abc"}).status_code == 401
    assert client.get(UNREAD).status_code == 200, "the cookie must survive that"


def test_the_bearer_token_decides_who_it_is_beside_a_cookie(browser, company):
    client, _ = browser
    company.person("7")
    assert client.get(SESSION, headers=company.bearer("7")).json["user"]["id"] == "7"


def test_a_bearer_token_is_no_cookie(client, company):
    company.person("42")
    client.set_cookie(SESSION_COOKIE, company.token("42"))
    answer = client.get(UNREAD)
    assert answer.status_code == 401
    assert answer.json["error"]["details"]["reason"] == "audience"


def test_a_cookie_is_no_bearer_token(browser):
    client, _ = browser
    value = client.get_cookie(SESSION_COOKIE).value
    assert client.get(UNREAD, headers={"Authorization": f"Bearer {value}"}).status_code == 401


def test_a_session_does_not_begin_another(browser):
    client, csrf = browser
    answer = client.post(SESSION, headers={CSRF_HEADER: csrf})
    assert answer.status_code == 403
    assert answer.json["error"]["details"] == {"reason": "bearer_needed"}
    assert client.get(UNREAD).status_code == 200, "and it goes on"


def test_a_session_ends_with_the_token_it_came_from(client, company):
    company.person("42")
    answer = client.post(SESSION, headers={"Authorization": f"Bearer {company.token('42', 60)}"})
    left = datetime.fromisoformat(answer.json["expires_at"]) - datetime.now(UTC)
    assert 50 < left.total_seconds() <= 60


def test_a_cookie_that_is_no_longer_good_is_taken_away(client, company):
    company.person("42")
    client.set_cookie(SESSION_COOKIE, "spoiled")
    answer = client.get(UNREAD)
    assert answer.status_code == 401
    assert "Max-Age=0" in cookie_headers(answer)[SESSION_COOKIE]


def test_logging_out_takes_the_cookies_away(browser):
    client, csrf = browser
    assert client.delete(SESSION, headers={CSRF_HEADER: csrf}).status_code == 200
    assert client.get_cookie(SESSION_COOKIE) is None
    assert client.get_cookie(CSRF_COOKIE) is None
    assert client.get(UNREAD).status_code == 401


def test_another_site_can_log_nobody_out(browser):
    client, _ = browser
    assert client.delete(SESSION).status_code == 403
    assert client.get(UNREAD).status_code == 200
