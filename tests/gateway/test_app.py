"""The front door as a whole: every path guarded, every failure JSON, nothing leaked."""

from __future__ import annotations

import logging
import re

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from gateway import transactions
from gateway.app import create_app
from gateway.transactions import in_transaction
from shared.database import transaction
from shared.errors import Conflict, Unavailable

LIST = "/api/notifications/notifications/"

# What anyone may ask. Whatever is added here needs a reason in its view's docstring.
PUBLIC = {
    "health.healthz",
    "health.readyz",
    "pages.show_page",
    "pages.show_favicon",
    "pages.static",
    "demo.show_company",  # loopback only, and checks that itself
    "docs.show_document",  # holds no data of anyone
    "docs.show_page",
    "notifications",  # the WebSocket: says who it is in its headers or its first message
}


def test_every_path_is_guarded_or_known_to_be_public(app):
    open_paths = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if not getattr(app.view_functions[rule.endpoint], "requires_person", False)
    }
    assert open_paths == PUBLIC


def test_every_guarded_path_refuses_a_stranger(app, client):
    for rule in app.url_map.iter_rules():
        if not getattr(app.view_functions[rule.endpoint], "requires_person", False):
            continue
        for method in rule.methods - {"OPTIONS", "HEAD"}:
            address = re.sub("<.*?>", "1", rule.rule)
            assert client.open(address, method=method).status_code == 401, f"{method} {address}"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere/", 404, "not_found"),
        ("GET", "/api/nowhere/", 404, "not_found"),
        ("PUT", LIST, 405, "method_not_allowed"),
        ("GET", LIST + "mark-all-read/", 405, "method_not_allowed"),
        ("GET", "/api/notifications/send-broadcast/", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there_is_said_in_json(method, path, status, code, client, company):
    company.person("42")
    answer = client.open(path, method=method, headers=company.bearer("42"))
    if path.endswith("mark-all-read/"):  # the path of a notification whose id is "mark-all-read"
        status, code = 400, "invalid_input"
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert set(answer.json["error"]) == {"code", "message", "details"}
    assert ("Allow" in answer.headers) == (status == 405)


def test_answers_carry_the_headers_that_browsers_obey(client, company):
    company.person("42")
    for answer in (client.get(LIST, headers=company.bearer("42")), client.get(LIST), client.get("/nowhere")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Request-Id"]


def test_the_request_id_of_a_proxy_is_kept_and_nonsense_is_not(client):
    assert client.get("/healthz", headers={"X-Request-Id": "abc-12345"}).headers["X-Request-Id"] == "abc-12345"
    assert client.get("/healthz", headers={"X-Request-Id": "<script>"}).headers["X-Request-Id"] != "<script>"


def test_a_crash_is_logged_with_its_traceback_and_tells_the_caller_a_number(settings, caplog):
    app = create_app(settings)

    @app.get("/crash")
    def crash():
        raise RuntimeError("the password is swordfish")

    with caplog.at_level(logging.ERROR):
        answer = app.test_client().get("/crash")

    assert answer.status_code == 500
    assert answer.json["error"]["code"] == "internal"
    assert answer.json["error"]["details"] == {"request_id": answer.headers["X-Request-Id"]}
    assert "swordfish" not in answer.get_data(as_text=True)
    (record,) = [record for record in caplog.records if "request_crashed" in record.getMessage()]
    assert answer.headers["X-Request-Id"] in record.getMessage()


def away(settings, address):
    return create_app(settings.model_copy(update={"database_url": address})).test_client()


def test_without_the_database_the_door_says_when_to_come_again(settings, company, closed_port):
    client = away(settings, f"postgresql+psycopg2://x:swordfish@127.0.0.1:{closed_port}/x")
    answer = client.get(LIST, headers=company.bearer("42"))
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "2"
    assert "swordfish" not in answer.get_data(as_text=True)
    assert str(closed_port) not in answer.get_data(as_text=True)


def test_a_statement_that_takes_too_long_is_ended(settings, monkeypatch):
    monkeypatch.setattr(transactions, "_BOUND", text("SET LOCAL statement_timeout = '50ms'"))
    with pytest.raises(Unavailable):
        in_transaction(settings, lambda session: session.execute(text("SELECT pg_sleep(5)")))


def test_the_bound_on_statements_ends_with_the_transaction(settings):
    bound = text("SHOW statement_timeout")
    assert in_transaction(settings, lambda session: session.scalar(bound)) == "15s"
    with transaction(settings) as session:
        assert session.scalar(bound) == "0"


@pytest.mark.parametrize("state", ["40P01", "40001"])
def test_a_deadlock_is_tried_again(state, settings, session):
    tries = []

    def work(session):
        tries.append(session)
        if len(tries) < 3:
            session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '{state}'; END $$"))
        return "done"

    assert in_transaction(settings, work) == "done"
    assert len(tries) == 3


def test_a_deadlock_without_end_is_unavailable(settings, session):
    tries = []

    def work(session):
        tries.append(session)
        session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40P01'; END $$"))

    with pytest.raises(Unavailable) as raised:
        in_transaction(settings, work)
    assert isinstance(raised.value.__cause__, OperationalError)
    assert len(tries) == 3


def test_a_refusal_is_not_tried_again(settings, session):
    tries = []

    def work(session):
        tries.append(session)
        raise Conflict("no")

    with pytest.raises(Conflict):
        in_transaction(settings, work)
    assert len(tries) == 1
