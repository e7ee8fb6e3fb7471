"""`stagebloom templates` as it is used: a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from shared.database import transaction
from shared.models import AuditRecord
from shared.settings import Settings
from tests.company import Company
from tests.shared.test_cli import answered, refused

FR = ("stage_update", "fr")


@pytest.fixture
def file(company: Company, tmp_path: Path) -> Path:
    path = tmp_path / "stage.txt"
    path.write_text("Stage {{ stage_id }} : été 🎉\n\nBonjour {{ who }},\nà bientôt.\n", encoding="utf-8")
    return path


def test_a_template_is_saved_seen_used_and_taken_back(file: Path, settings: Settings, tmp_path: Path) -> None:
    assert answered("templates", "save", *FR, str(file), "--variable", "who") == "stage_update/fr version 1 saved\n"
    shown = answered("templates", "show", *FR)
    assert shown == "Stage {{ stage_id }} : été 🎉\nBonjour {{ who }},\nà bientôt.\n"
    assert (
        answered("templates", "preview", *FR, '{"stage_id": 7, "who": "Zoé"}')
        == "Stage 7 : été 🎉\nBonjour Zoé,\nà bientôt.\n"
    )

    again = tmp_path / "again.txt"
    again.write_text(shown, encoding="utf-8")
    assert "version 2 saved and active" in answered(
        "templates", "save", *FR, str(again), "--variable", "who", "--activate", "--format", "rich"
    )
    assert json.loads(answered("templates", "show", *FR, "--json"))["format"] == "rich"
    assert json.loads(answered("templates", "list", "--json")) == [
        {"name": "stage_update", "locale": "fr", "newest_version": 2, "active_version": 2, "faults": 0}
    ]
    assert answered("templates", "activate", *FR, "1") == "stage_update/fr version 1 is active\n"
    assert "version 1 is no longer active" in answered("templates", "deactivate", *FR)
    assert "none was active" in answered("templates", "deactivate", *FR)
    assert "the catalogue" in answered("templates", "list")
    with transaction(settings) as session:
        rows = session.scalars(select(AuditRecord).order_by(AuditRecord.id))
        assert [(row.actor, row.details["change"], row.details["version"]) for row in rows] == [
            ("cli", "saved", 1), ("cli", "saved", 2), ("cli", "activated", 2), ("cli", "activated", 1), ("cli", "deactivated", 1),
        ]  # fmt: skip


def test_what_is_wrong_is_one_line(file: Path, tmp_path: Path, company: Company) -> None:
    assert "message: line 1: unknown variable 'who'; known are: action, stage_id" in refused(
        "templates", "save", *FR, str(file)
    )
    assert "name: expected one of" in refused("templates", "save", "stage", "fr", str(file))
    assert "there is no stage_update/fr" in refused("templates", "show", *FR)
    assert "there is no stage_update/fr version 9" in refused("templates", "activate", *FR, "9")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert "expected UTF-8" in refused("templates", "save", *FR, str(binary))
    assert company.count("notification_templates") == 0
