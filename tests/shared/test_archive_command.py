"""`stagebloom archive`: what was archived can be read back, by people and by machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from shared.archive import write_archive
from shared.database import engine
from shared.partitions import list_partitions
from shared.settings import Settings
from tests.company import Company
from tests.shared.test_cli import answered, refused


@pytest.fixture
def directory(settings: Settings, company: Company, tmp_path: Path) -> Path:
    """The archive of this week: two events for two people."""
    company.people(["7", "8"], "role_rh")
    company.notify("7", "8", title="Réunion [bold]", message="À 14 h")
    company.notify("7", title="Une seule", message="M", event_type="user_action", data={"user_id": "7"})
    with Session(engine(settings)) as session:
        for partition in list_partitions(session):
            write_archive(session, partition, tmp_path)
    return tmp_path


def the_name(directory: Path) -> str:
    found = json.loads(answered("archive", "list", "--json", NOTIFICATION_ARCHIVE_DIR=str(directory)))
    return next(one["name"] for one in found if one["events"])


def test_archives_are_listed_and_shown(directory: Path) -> None:
    environ = {"NOTIFICATION_ARCHIVE_DIR": str(directory)}
    name = the_name(directory)
    assert name in answered("archive", "list", **environ)
    shown = json.loads(answered("archive", "show", name, "--json", **environ))
    assert (shown["events"], shown["notifications"]) == (2, 3)
    assert {kind["event_type"]: kind["events"] for kind in shown["types"]} == {"system": 1, "user_action": 1}
    assert "user_action" in answered("archive", "show", name, **environ)


def test_notifications_are_read_back_of_everyone_or_of_one_person(directory: Path) -> None:
    environ = {"NOTIFICATION_ARCHIVE_DIR": str(directory)}
    name = the_name(directory)
    lines = [json.loads(line) for line in answered("archive", "read", name, "--json", **environ).splitlines()]
    assert [line["person"] for line in lines] == ["7", "8", "7"]
    assert lines[0]["event"]["texts"]["fr"] == {"title": "Réunion [bold]", "message": "À 14 h"}
    assert len(answered("archive", "read", name, "--person", "8", "--json", **environ).splitlines()) == 1
    assert len(answered("archive", "read", name, "--limit", "2", "--json", **environ).splitlines()) == 2
    shown = answered("archive", "read", name, "--person", "8", **environ)
    assert "Réunion [bold]" in shown
    assert "Une seule" not in shown


def test_what_is_missing_is_said(directory: Path) -> None:
    assert (
        refused("archive", "show", "nothing", NOTIFICATION_ARCHIVE_DIR=str(directory))
        == f"stagebloom: archive: 'nothing' is not in {directory}"
    )
    assert "NOTIFICATION_ARCHIVE_DIR is not set" in refused("archive", "list")
