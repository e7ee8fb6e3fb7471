"""The API's own description: whole, with examples that are true, and a page that needs nobody else."""

from __future__ import annotations

import re

import pytest

from gateway.openapi import DOORS
from gateway.openapi.document import ERRORS, errors_of
from shared import errors
from shared.models import FORMATS, NOTIFICATION_TYPES, PRIORITIES
from tests.structure.test_layout import SETUP
from tests.system import ROOT


@pytest.fixture
def document(client):
    return client.get("/api/openapi.json").json


def operations(document):
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_it_is_openapi_3_1_and_every_operation_is_whole(document):
    assert document["openapi"] == "3.1.0"
    found = operations(document)
    assert len({operation["operationId"] for _, _, operation in found}) == len(found) >= len(DOORS)
    for path, method, operation in found:
        assert operation["summary"], path
        assert operation["description"].startswith("For "), path
        (success, *_) = [status for status in operation["responses"] if status < "300"]
        (content,) = operation["responses"][success]["content"].values()
        assert content["example"] is not None, path
        assert ("requestBody" in operation) <= (method in ("post", "put")), path
        named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


def test_every_reference_leads_somewhere(document):
    references = set()

    def collect(node):
        if isinstance(node, dict):
            references.update([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
            node = list(node.values())
        if isinstance(node, list):
            for item in node:
                collect(item)

    collect(document["paths"])
    collect(document["components"])
    assert references
    for reference in references:
        found = document
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]


@pytest.mark.parametrize("endpoint", DOORS)
def test_every_example_is_what_the_door_takes_and_answers(endpoint):
    door = DOORS[endpoint]
    if door.answer is not None:
        door.answer.model_validate(door.example)
    if door.body is not None:
        assert set(door.required) <= set(door.body_example) <= set(door.body)
        for name, value in door.body_example.items():
            assert isinstance(value, door.body[name][0]), name


def test_every_error_of_the_tree_that_http_can_answer_is_there_with_an_example(document):
    def below(kind):
        return {kind, *(found for child in kind.__subclasses__() for found in below(child))}

    # Those that no door of HTTP raises: the root, settings, and the wait of a producer.
    told = {kind for kind in below(errors.NotificationError) if kind.__module__ == "shared.errors"} - {
        errors.NotificationError,
        errors.SettingsError,
        errors.Timeout,
    }
    assert {type(error) for error in ERRORS} == told
    for error in ERRORS:
        content = document["components"]["responses"][str(error.status)]["content"]["application/json"]
        assert content["examples"][error.code]["value"] == {"error": error.as_dict()}
    assert {status for door in DOORS.values() for status in errors_of(door)} <= {
        int(status) for status in document["components"]["responses"]
    }


def test_fields_with_a_choice_are_enums_and_the_version_is_the_product_s(document):
    assert document["info"]["version"] == SETUP["metadata"]["version"]
    for path in ("send-role-notification", "send-broadcast", "events"):
        content = document["paths"][f"/api/notifications/{path}/"]["post"]["requestBody"]["content"]["application/json"]
        fields = content["schema"]["properties"]
        assert fields["notification_type"]["enum"] == [*NOTIFICATION_TYPES, None]
        assert fields["priority"]["enum"] == [*PRIORITIES, None]
        assert fields["format"]["enum"] == [*FORMATS, None]
        assert "catalogue" in fields["event_type"]["description"]


def test_sections_begin_with_sending_and_every_one_has_a_door(document):
    tags = [tag["name"] for tag in document["tags"]]
    assert (tags[0], tags[-1]) == ("sending", "auditing")
    assert sorted(tags) == sorted({tag for _, _, operation in operations(document) for tag in operation["tags"]})


def test_the_page_with_a_slash_leads_to_the_one_without(client):
    answer = client.get("/api/docs/")
    assert (answer.status_code, answer.headers["Location"]) == (308, "/api/docs")
    assert client.get("/api/docs").status_code == 200


def test_the_page_is_ours_alone_and_runs_nothing_inline(client):
    answer = client.get("/api/docs")
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    page = answer.get_data(as_text=True)
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert files
    for file in files:
        assert file.startswith("/"), file
        assert client.get(file).status_code == 200, file
    assert "<script>" not in page
    assert " style=" not in page
    assert "innerHTML" not in (ROOT / "gateway" / "static" / "docs.js").read_text()
