"""The doors under gunicorn and gevent, as they are served: many at once, and what only a real server does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.system import wait_until

AT_ONCE = 40  # more than the pools of the gateway hold (8 and 10)
UNREAD = "/api/notifications/notifications/unread-count/"


@pytest.fixture
def web(system, company):
    """A client of the real gateway as 42, who may send."""
    company.person("42", "role_rh")
    with httpx.Client(base_url=system.base_url, headers=company.bearer("42"), timeout=30) as client:
        yield client


def test_many_at_once_wait_for_each_other_and_none_fails(web):
    def ask(n):
        if n % 2:
            return web.get(UNREAD).status_code
        return web.post("/api/notifications/ticket/").status_code

    with ThreadPoolExecutor(AT_ONCE) as threads:
        assert set(threads.map(ask, range(AT_ONCE * 4))) == {200, 201}


def test_what_is_sent_arrives(web):
    body = {"target_roles": ["rh"], "title": "T", "message": "M", "data": {"stage_id": 3}}
    event_id = web.post("/api/notifications/send-role-notification/", json=body).json()["event_id"]
    wait_until(lambda: web.get(UNREAD).json()["unread_count"] == 1, "the notification is stored")
    (found,) = web.get("/api/notifications/notifications/").json()["results"]
    assert (found["id"], found["data"]) == (event_id, {"stage_id": 3})


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(chunked, web):
    large = b'{"title": "' + b"x" * 200_000 + b'"}'
    content = iter([large[:100_000], large[100_000:]]) if chunked else large
    answer = web.post(
        "/api/notifications/send-role-notification/", content=content, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert web.get(UNREAD).status_code == 200


def test_the_gateway_is_ready_and_alive(web):
    ready = web.get("/readyz").json()
    assert ready["status"] == "ready", ready
    assert web.get("/healthz").json() == {"status": "ok"}
