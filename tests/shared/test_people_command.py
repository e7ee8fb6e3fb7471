"""`stagebloom people`, as a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.company import Company
from tests.shared.test_cli import answered, refused, stagebloom


def people(company: Company) -> None:
    company.person("42", "role_rh", "stage_3", locale="fr")
    company.person("7")
    company.person("8", "role_rh", is_active=False)
    company.notify("42", title="Bonjour", message="…")


def test_people_are_listed_by_role_and_state(company: Company) -> None:
    people(company)

    def ids(*options: str) -> list[str]:
        return [json.loads(line)["id"] for line in answered("people", "list", "--json", *options).splitlines()]

    assert ids() == ["42", "7", "8"]
    assert ids("--role", "rh") == ["42", "8"]
    assert ids("--role", "rh", "--inactive") == ["8"]
    assert ids("--no-role") == ["7"]
    assert ids("--limit", "1") == ["42"]
    assert "stage_3" in answered("people", "list")


def test_one_person_is_shown_with_what_they_have(company: Company) -> None:
    people(company)
    shown = json.loads(answered("people", "show", "42", "--json"))
    assert (shown["groups"], shown["notifications"], shown["unread"], shown["connections"]) == (
        ["role_rh", "stage_3"],
        1,
        1,
        0,
    )
    assert "Person 42" in answered("people", "show", "42")
    assert "there is no person 'ghost'" in refused("people", "show", "ghost")


def test_connections_of_a_dead_gateway_are_not_shown(company: Company, session: Session) -> None:
    people(company)
    for silent_seconds in (0, 31):
        session.execute(
            text("""
            WITH gateway AS (INSERT INTO gateways (name, heard_at) VALUES ('test', now() - make_interval(secs => :ago)) RETURNING id)
            INSERT INTO websocket_connections (gateway_id, number, user_id, connected_at)
            SELECT gateway.id, 1, users.id, now() FROM gateway, users WHERE external_id = '42'
            """),
            {"ago": silent_seconds},
        )
    session.commit()
    assert json.loads(answered("people", "show", "42", "--json"))["connections"] == 1


def test_people_are_let_out_and_in(company: Company, session: Session) -> None:
    people(company)
    assert answered("people", "deactivate", "42", "7") == "2 of 2 changed\n"
    assert answered("people", "activate", "42") == "1 of 1 changed\n"
    assert session.scalars(text("SELECT external_id FROM users WHERE is_active")).all() == ["42"]
    assert session.scalars(text("SELECT action FROM audit_log ORDER BY id")).all() == [
        "people.deactivate",
        "people.activate",
    ]
    assert "ghost" in refused("people", "activate", "ghost")


def test_an_export_goes_to_the_terminal_or_a_file_of_one_s_own(company: Company, tmp_path: Path) -> None:
    people(company)
    lines = [json.loads(line) for line in answered("people", "export", "42").splitlines()]
    assert (lines[0]["id"], lines[-1]["kind"]) == ("42", "end")
    file = tmp_path / "42.jsonl"
    answered("people", "export", "42", "--output", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text().splitlines()[0])["id"] == "42"
    assert "File exists" in stagebloom("people", "export", "42", "--output", str(file)).stderr


def test_erasing_asks_first(company: Company, session: Session) -> None:
    people(company)
    done = stagebloom("people", "erase", "42")
    assert done.returncode != 0
    assert "erases 'Person 42' and 1 notifications for good" in done.stdout
    assert session.scalar(text("SELECT count(*) FROM users WHERE external_id = '42'")) == 1
    session.rollback()
    assert answered("people", "erase", "42", "--yes").startswith("erased: 1 notifications, 1 events redacted")
    assert session.scalar(text("SELECT count(*) FROM users WHERE external_id = '42'")) == 0
    assert "there is no person '42'" in refused("people", "erase", "42", "--yes")
    assert [json.loads(line)["id"] for line in answered("people", "list", "--json").splitlines()] == ["7", "8"]
