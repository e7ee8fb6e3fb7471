"""A person's data over HTTP: one's own for everyone, anybody's for admins; and the erased are out."""

from __future__ import annotations

import json

import httpx
import pytest
from sqlalchemy import text

from producer import Directory
from shared.errors import InvalidInput, NotFound
from shared.tasks import ANNOUNCE_PEOPLE
from tests.system import wait_until

BASE = "/api/notifications/"


def facts(answer):
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return [json.loads(line) for line in answer.get_data(as_text=True).splitlines()]


@pytest.fixture
def people(company):
    company.person("1", "role_admin")
    company.person("42", "role_rh")
    company.notify("42", "1", title="Bonjour", message="…")


def test_everyone_may_export_themselves(people, client, company, session):
    answer = client.get(BASE + "export/", headers=company.bearer("42"))
    found = facts(answer)
    assert (answer.mimetype, answer.headers["Cache-Control"]) == ("application/x-ndjson", "no-store")
    assert "attachment" in answer.headers["Content-Disposition"]
    assert (found[0]["kind"], found[0]["id"], found[-1]["kind"]) == ("person", "42", "end")
    assert [fact["title"] for fact in found if fact["kind"] == "notification"] == ["Bonjour"]
    row = session.execute(text("SELECT actor, target FROM audit_log WHERE action = 'person.export'")).one()
    assert tuple(row) == ("user_42", "user_42")


def test_an_admin_may_export_anyone_and_nobody_else_may(people, client, company):
    assert facts(client.get(BASE + "people/42/export/", headers=company.bearer("1")))[0]["id"] == "42"
    assert client.get(BASE + "people/1/export/", headers=company.bearer("42")).status_code == 403
    assert client.get(BASE + "people/42/export/").status_code == 401
    assert client.get(BASE + "people/ghost/export/", headers=company.bearer("1")).status_code == 404


def test_an_admin_may_erase_and_nobody_else_may(people, client, company, session):
    assert client.delete(BASE + "people/1/", headers=company.bearer("42")).status_code == 403
    answer = client.delete(BASE + "people/42/", headers=company.bearer("1"))
    assert answer.status_code == 200, answer.json
    assert answer.json["notifications"] == 1
    assert session.execute(text("SELECT actor, target FROM audit_log WHERE action = 'person.erase'")).one() == (
        "user_1",
        answer.json["erased"],
    )
    assert client.delete(BASE + "people/42/", headers=company.bearer("1")).status_code == 404
    refused = client.get(BASE + "export/", headers=company.bearer("42"))
    assert (refused.status_code, refused.json["error"]["details"]["reason"]) == (401, "unknown_person")


def test_an_admin_who_erases_themselves_leaves_no_name_in_the_log(people, client, company, session):
    answer = client.delete(BASE + "people/1/", headers=company.bearer("1"))
    assert answer.status_code == 200
    assert session.scalars(text("SELECT actor FROM audit_log WHERE action = 'person.erase'")).all() == [
        answer.json["erased"]
    ]


def test_the_producers_directory_erases(people, settings, session):
    Directory().erase(["42"])
    assert session.scalars(text("SELECT external_id FROM users WHERE is_active")).all() == ["1"]
    with pytest.raises(NotFound):
        Directory().erase(["42"])
    with pytest.raises(InvalidInput, match="without one"):
        Directory(session).erase(["1"])
    assert ANNOUNCE_PEOPLE


def test_open_connections_of_the_erased_are_closed_for_good(system, company):
    company.person("1", "role_admin")
    company.person("42")
    from tests.live_client import connect

    token = company.token("42")
    with connect(system.base_url, token) as erased, connect(system.base_url, company.token("1")) as other:
        answer = httpx.delete(f"{system.base_url}{BASE}people/42/", headers=company.bearer("1"), timeout=30)
        assert answer.status_code == 200, answer.text
        assert erased.wait_closed() == 4503
        other.settle()
    with connect(system.base_url) as again:
        again.send(type="authenticate", token=token)
        assert again.wait_closed() in (4501, 4503)
    wait_until(
        lambda: company.count("users WHERE external_id LIKE 'erased %'") == 1,
        "the workers finish it",
        explain=system.logs,
    )
