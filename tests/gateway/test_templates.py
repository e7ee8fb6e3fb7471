"""Templates over HTTP: for admins, refused with the line, each change in the audit log."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from shared.database import transaction
from shared.events import EventDraft, record_event
from shared.models import AuditRecord, NotificationTemplate

BASE = "/api/notifications/templates/"
FR = f"{BASE}stage_update/fr/"
GOOD = {"title": "Stage {{ stage_id }}", "message": "Bonjour {{ who }}", "variables": ["who"]}


@pytest.fixture
def call(client, company):
    """A request as an admin: call("post", address, body) → answer."""
    company.person("ann", "role_admin")

    def send(method, address, body=None, person="ann"):
        return client.open(address, method=method.upper(), json=body, headers=company.bearer(person))

    return send


def changes(settings):
    with transaction(settings) as session:
        rows = session.scalars(
            select(AuditRecord).where(AuditRecord.action == "template.change").order_by(AuditRecord.id)
        )
        return [(row.actor, row.target, row.details["change"], row.details["version"]) for row in rows]


def test_from_a_draft_to_the_next_event_s_words_and_back(call, settings, company):
    company.person("7", "stage_7")
    saved = call("post", FR, GOOD)
    assert saved.status_code == 201
    assert {
        **GOOD,
        "name": "stage_update",
        "locale": "fr",
        "version": 1,
        "format": "plain",
        "is_active": False,
    }.items() <= saved.json.items()

    assert call("post", FR + "preview/", {"data": {"stage_id": 7, "who": "<b>"}}).json == {
        "title": "Stage 7",
        "message": "Bonjour <b>",
        "format": "plain",
    }
    assert call("post", FR + "1/activate/").json["is_active"] is True
    second = call("post", FR, {**GOOD, "message": "Salut", "activate": True})
    assert (second.json["version"], second.json["is_active"]) == (2, True)
    assert [(one["version"], one["is_active"]) for one in call("get", FR).json["results"]] == [(2, True), (1, False)]
    assert call("get", BASE).json == {
        "results": [{"name": "stage_update", "locale": "fr", "newest_version": 2, "active_version": 2, "faults": 0}]
    }

    with transaction(settings) as session:
        event = record_event(session, EventDraft(event_type="stage_update", data={"stage_id": 7}))
        assert event.texts["fr"] == {"title": "Stage 7", "message": "Salut"}
    assert call("post", FR + "1/activate/").status_code == 200
    assert call("post", FR + "deactivate/").json == {"name": "stage_update", "locale": "fr", "deactivated_version": 1}
    assert call("post", FR + "deactivate/").json["deactivated_version"] is None
    assert changes(settings) == [
        ("user_ann", "stage_update/fr", *change)
        for change in [
            ("saved", 1),
            ("activated", 1),
            ("saved", 2),
            ("activated", 2),
            ("activated", 1),
            ("deactivated", 1),
        ]
    ]
    with transaction(settings) as session:
        assert all(session.scalars(select(NotificationTemplate.created_by)))


@pytest.mark.parametrize(
    ("body", "field", "line"),
    [
        ({**GOOD, "message": "a\n{{ nobody }}"}, "message", 2),
        ({**GOOD, "title": "{% if %}"}, "title", 1),
        ({**GOOD, "message": "{{ ''.__class__.__mro__[1].__subclasses__() }}"}, "message", 1),
        ({**GOOD, "message": "{{ config }}{{ request }}"}, "message", 1),
        ({**GOOD, "title": None}, "title", None),
        ({**GOOD, "variables": "who"}, "variables", None),
        ({**GOOD, "activate": "yes"}, "activate", None),
        ({**GOOD, "is_active": True}, "field", None),
        ({**GOOD, "format": "html"}, "format", None),
    ],
)
def test_a_draft_at_fault_is_refused_with_its_line_and_nothing_is_kept(call, company, body, field, line):
    answer = call("post", FR, body)
    assert answer.status_code == 400
    assert answer.json["error"]["details"]["field"] == field
    assert answer.json["error"]["details"].get("line") == line
    assert company.count("notification_templates") == 0
    assert company.count("audit_log") == 0


def test_a_draft_can_be_previewed_before_it_is_saved(call, company):
    answer = call(
        "post",
        FR + "preview/",
        {
            **GOOD,
            "format": "rich",
            "message": "<b>{{ who }}</b><script>x</script>",
            "data": {"stage_id": 1, "who": "<i>"},
        },
    )
    assert answer.json == {"title": "Stage 1", "message": "<b>&lt;i&gt;</b>", "format": "rich"}
    refused = call("post", FR + "preview/", {**GOOD, "data": {}})
    assert refused.status_code == 400
    assert refused.json["error"]["message"] == "title: line 1: 'stage_id' is undefined"
    assert company.count("notification_templates") == 0


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("get", FR),
        ("post", FR + "preview/"),
        ("post", FR + "1/activate/"),
        ("post", FR + "deactivate/"),
        ("post", f"{BASE}x/y/9/activate/"),
        ("get", f"{BASE}%00/fr/"),
        ("get", f"{BASE}system/%00/"),
        ("post", f"{BASE}%00/fr/deactivate/"),
        ("post", f"{BASE}%00/fr/1/activate/"),
        ("post", f"{BASE}system/fr/99999999999/activate/"),
    ],
)
def test_what_is_not_there_is_404(call, method, address):
    assert call(method, address, {}).status_code == 404


@pytest.mark.parametrize(("version", "status"), [(True, 400), ("1", 400), (99999999999, 404), (-(10**12), 404)])
def test_only_a_number_is_a_version(call, version, status):
    assert call("post", FR, GOOD).status_code == 201
    assert call("post", FR + "preview/", {"version": version}).status_code == status


@pytest.mark.parametrize("name", ["unheard", "stage_update.", "%00", "a b", "stage_update.x%E2%80%8B"])
def test_a_name_that_the_catalogue_does_not_know_is_refused(call, company, name):
    assert call("post", f"{BASE}{name}/fr/", GOOD).status_code == 400
    assert call("post", f"{BASE}stage_update/f%C3%A9/", GOOD).status_code == 400
    assert company.count("notification_templates") == 0


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("get", BASE),
        ("get", FR),
        ("post", FR),
        ("post", FR + "preview/"),
        ("post", FR + "1/activate/"),
        ("post", FR + "deactivate/"),
    ],
)
def test_only_admins_come_in(call, client, company, method, address):
    company.person("rob", "role_rh")
    answer = call(method, address, GOOD, person="rob")
    assert answer.status_code == 403
    assert answer.json["error"]["details"] == {"roles": ["admin"]}
    assert client.open(address, method=method.upper()).status_code == 401
    assert company.count("notification_templates") == 0


def test_a_rich_message_sent_over_http_is_listed_cleaned_and_named_so(call, client, company):
    company.person("sam", "role_stagiaire")
    sent = call(
        "post",
        "/api/notifications/send-broadcast/",
        {"title": "<b>T</b>", "message": "<b onclick=x>M</b><script>x</script>", "format": "rich"},
    )
    assert sent.status_code == 202
    event_id = company.notify("sam", title="<i>T</i>", message="<b>M</b><img src=x onerror=y>", format="rich")
    shown = client.get(f"/api/notifications/notifications/{event_id}/", headers=company.bearer("sam")).json
    assert (shown["title"], shown["message"], shown["format"]) == ("<i>T</i>", "<b>M</b>", "rich")
    plain = company.notify("sam", title="T", message="<b>M</b>")
    shown = client.get(f"/api/notifications/notifications/{plain}/", headers=company.bearer("sam")).json
    assert (shown["message"], shown["format"]) == ("<b>M</b>", "plain")
