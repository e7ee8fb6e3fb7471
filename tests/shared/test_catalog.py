"""The domain table: who is meant when the caller says no more, and no data that could widen it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.catalog import event_type, load_catalog
from shared.errors import InvalidInput, SettingsError
from shared.models import NOTIFICATION_TYPES

STAGEBLOOM = load_catalog(None)

DEFAULTS = [
    ("system", {}, ["everyone"], "info"),
    ("user_action", {"user_id": 42}, ["user_42"], "info"),
    ("stage_update", {"stage_id": "123"}, ["stage_123"], "info"),
    ("document_upload", {"stage_id": 123}, ["stage_123", "role_rh"], "info"),
    ("evaluation", {"evaluator_id": 1, "evaluated_id": 2}, ["user_1", "user_2"], "info"),
    ("survey", {"survey_id": 456}, ["survey_456", "role_rh"], "info"),
    ("testimonial", {"stage_id": 123}, ["role_rh", "stage_123"], "success"),
    ("demande", {}, ["role_rh"], "info"),
    ("demande", {"entreprise_id": 3}, ["role_rh & entreprise_3"], "info"),
    ("demande", {"candidate_id": 9}, ["role_rh", "user_9"], "info"),
    ("demande", {"entreprise_id": 3, "candidate_id": 9}, ["role_rh & entreprise_3", "user_9"], "info"),
    ("demande", {"entreprise_id": None, "candidate_id": None}, ["role_rh"], "info"),
    ("kpi_alert", {"stage_id": 123}, ["role_rh", "role_tuteur & stage_123"], "warning"),
]


@pytest.mark.parametrize(("name", "data", "audience", "notification_type"), DEFAULTS)
def test_the_nine_event_types_mean_what_the_earlier_system_meant(
    name: str, data: dict[str, Any], audience: list[str], notification_type: str
) -> None:
    row = event_type(STAGEBLOOM, name)
    assert [str(term) for term in row.audience_for(data)] == audience
    assert row.notification_type_for(data) == notification_type
    assert row.category == name.upper()
    assert set(row.texts_for({**data, "stage_id": 1, "survey_id": 1})) == {"fr", "en"}


def test_there_are_nine_and_each_is_tested() -> None:
    assert {row[0] for row in DEFAULTS} == set(STAGEBLOOM)
    assert len(STAGEBLOOM) == 9


def test_every_row_of_an_action_says_it_in_both_languages_and_with_a_type_that_exists() -> None:
    rows = [row.of_action(action) for row in STAGEBLOOM.values() for action in row.actions]
    assert len(rows) == 35
    for row in rows:
        assert set(row.texts) == {"fr", "en"}
        assert row.notification_type_for({}) in NOTIFICATION_TYPES


def test_what_an_action_does_not_say_its_event_type_does() -> None:
    uploaded, approved = (event_type(STAGEBLOOM, "document_upload", action) for action in ("uploaded", "approved"))
    assert uploaded.audience == STAGEBLOOM["document_upload"].audience
    assert (approved.category, approved.notification_type) == ("DOCUMENT_UPLOAD", "success")


@pytest.mark.parametrize("action", [None, "", "status_Changed", "unheard_of", 7, ["created"], {"created": 1}])
def test_an_action_without_a_row_is_its_event_type(action: Any) -> None:
    assert event_type(STAGEBLOOM, "stage_update", action) is STAGEBLOOM["stage_update"]


@pytest.mark.parametrize(("level", "expected"), [(None, "warning"), ("info", "info"), ("error", "error")])
def test_a_kpi_alert_has_the_given_level(level: str | None, expected: str) -> None:
    assert STAGEBLOOM["kpi_alert"].notification_type_for({"alert_level": level}) == expected


@pytest.mark.parametrize("level", ["danger", "", 1, ["info"]])
def test_a_level_that_does_not_exist_is_refused(level: Any) -> None:
    with pytest.raises(InvalidInput, match=r"data\.alert_level: expected one of info, success, warning, error"):
        STAGEBLOOM["kpi_alert"].notification_type_for({"alert_level": level})


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("user_action", "user_id"),
        ("stage_update", "stage_id"),
        ("evaluation", "evaluator_id"),
        ("survey", "survey_id"),
        ("kpi_alert", "stage_id"),
    ],
)
def test_missing_data_is_named(name: str, missing: str) -> None:
    with pytest.raises(InvalidInput, match=f"data.{missing}: expected a text or number, needed by") as refused:
        STAGEBLOOM[name].audience_for({})
    assert refused.value.details["field"] == f"data.{missing}"


@pytest.mark.parametrize("value", [None, "", True, ["1"], {"id": 1}])
def test_data_that_names_nobody_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"data\.stage_id"):
        STAGEBLOOM["stage_update"].audience_for({"stage_id": value})


@pytest.mark.parametrize("value", ["", False, [9], {"id": 9}])
def test_data_that_is_given_and_wrong_does_not_fall_back(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"data\.candidate_id"):
        STAGEBLOOM["demande"].audience_for({"candidate_id": value})
    with pytest.raises(InvalidInput, match=r"data\.entreprise_id"):
        STAGEBLOOM["demande"].audience_for({"entreprise_id": value})


@pytest.mark.parametrize(
    "value",
    [
        "1 & role_rh",
        "1&role_rh",
        "1, everyone",
        "1 else everyone",
        "1 else nobody",
        "1\nrole_rh",
        "1|role_rh",
        " 1",
        "\x00",
        "\ud800",
        "1" * 200,
    ],
)
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("stage_update", "stage_id"),
        ("demande", "candidate_id"),
        ("demande", "entreprise_id"),
        ("kpi_alert", "stage_id"),
    ],
)
def test_data_can_not_change_the_algebra(name: str, key: str, value: str) -> None:
    with pytest.raises(InvalidInput):
        STAGEBLOOM[name].audience_for({key: value})


def test_data_is_filled_in_as_it_is_and_never_read_as_a_placeholder() -> None:
    assert (
        STAGEBLOOM["stage_update"].texts_for({"stage_id": "{stage_id} {0.x} %s"})["fr"]["message"]
        == "Le stage {stage_id} {0.x} %s a été mis à jour."
    )
    assert str(STAGEBLOOM["user_action"].audience_for({"user_id": "{evaluator_id}"})[0]) == "user_{evaluator_id}"


def test_an_unknown_event_type_names_those_that_exist() -> None:
    with pytest.raises(InvalidInput, match="demande, document_upload, evaluation"):
        event_type(STAGEBLOOM, "Survey")


GOOD = {
    "category": "BILLING",
    "audience": ["role_accounting & company_{company} else role_accounting else nobody"],
    "texts": {"en": {"title": "New invoice", "message": "Invoice {number} has arrived"}},
    "actions": {"overdue": {"notification_type": "{level} else warning", "audience": ["role_boss"]}},
}


def test_another_application_brings_its_own_table(tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps({"invoice": GOOD}), encoding="utf-8")
    row = event_type(load_catalog(path), "invoice")
    assert [str(term) for term in row.audience_for({"company": 3})] == ["role_accounting & company_3"]
    assert [str(term) for term in row.audience_for({})] == ["role_accounting"]
    assert row.texts_for({"number": 7}) == {"en": {"title": "New invoice", "message": "Invoice 7 has arrived"}}
    assert row.notification_type_for({"level": "error"}) == "info"
    overdue = row.of_action("overdue")
    assert [str(term) for term in overdue.audience_for({})] == ["role_boss"]
    assert (overdue.texts, overdue.notification_type_for({"level": "error"})) == (row.texts, "error")
    with pytest.raises(InvalidInput, match="one of invoice"):
        event_type(load_catalog(path), "system")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "Expecting value"),
        ("{", "Expecting"),
        ("[]", "valid dictionary"),
        ("{}", "at least 1 item"),
        ('{"invoice": 7}', "invoice: .*got 7"),
        *(
            (json.dumps({"invoice": {**GOOD, **change}}), cause)
            for change, cause in [
                ({"category": ""}, r"invoice\.category"),
                ({"notification_type": "danger"}, r"invoice\.notification_type: .*'warning'"),
                ({"audience": "role_rh"}, r"invoice\.audience"),
                ({"audience": ["role rh"]}, r"invoice\.audience\.0: .*without spaces"),
                ({"audience": ["a_{x} else b c"]}, r"invoice\.audience\.0"),
                ({"audience": ["a_{x"]}, r"invoice\.audience\.0: .*placeholders"),
                ({"audience": ["a_{x.y}"]}, "placeholders such as"),
                ({"audience": ["nobody else a b"]}, r"invoice\.audience\.0"),
                ({"texts": {}}, r"invoice\.texts"),
                ({"texts": {"en": {"title": "T"}}}, r"invoice\.texts\.en\.message"),
                ({"texts": {"en": {"title": "T", "message": "{}"}}}, "placeholders such as"),
                ({"texts": {"en": {"title": "T", "message": "{x!r:>9}"}}}, "placeholders such as"),
                ({"texts": {"English!": {"title": "T", "message": "M"}}}, "English!"),
                ({"colour": "red"}, r"invoice\.colour"),
                ({"notification_type": "{a} else {b}"}, r"invoice\.notification_type"),
                ({"notification_type": "a else info"}, r"invoice\.notification_type"),
                ({"notification_type": "{a} else {b} else info"}, r"invoice\.notification_type"),
                ({"actions": {"overdue": {"audience": ["a b"]}}}, r"invoice\.actions\.overdue\.audience\.0"),
                ({"actions": {"overdue": {"texts": {}}}}, r"invoice\.actions\.overdue\.texts"),
                ({"actions": {"overdue": {"actions": {}}}}, r"invoice\.actions\.overdue\.actions"),
            ]
        ),
    ],
)
def test_a_faulty_file_says_where(tmp_path: Path, content: str, cause: str) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=cause) as refused:
        load_catalog(path)
    assert f"CATALOG_FILE={path}" in refused.value.message


def test_a_file_that_is_missing_or_no_text_says_so(tmp_path: Path) -> None:
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe{}")
    for path in (tmp_path / "missing.json", tmp_path, binary):
        with pytest.raises(SettingsError, match="CATALOG_FILE="):
            load_catalog(path)
