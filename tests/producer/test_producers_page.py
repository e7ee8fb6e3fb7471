"""docs/producers.md is true: its table is the code's, and its examples run."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.catalog import load_catalog
from shared.database import engine
from shared.events import EventDraft, record_event
from shared.models import Base, NotificationEvent
from shared.settings import Settings
from tests.company import Company
from tests.producer.integrations.test_sqlalchemy import Employee, Stage
from tests.producer.test_notify import CALLS, FUNCTIONS
from tests.system import ROOT

PAGE = (ROOT / "docs" / "producers.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
HEAD = "| function | event | who gets it | type | title (fr · en) |\n|---|---|---|---|---|\n"


def line(name: str, event_type: str, action: str) -> str:
    """One line of the table, as the code says it."""
    row = load_catalog(None)[event_type].of_action(action)
    parameters = [
        str(one.replace(annotation=inspect.Parameter.empty))
        for one in inspect.signature(FUNCTIONS[name]).parameters.values()
        if one.name != "options"
    ]
    parameters.remove("source_user=None")
    audience = ", ".join(f"`{term}`" for term in row.audience)
    titles = f"{row.texts['fr'].title} · {row.texts['en'].title}"
    kind = row.notification_type.replace("{alert_level} else ", "`alert_level`, else ")
    return f"| `{name}({', '.join(parameters)})` | {event_type}: {action} | {audience} | {kind} | {titles} |"


def test_the_table_is_what_the_code_does() -> None:
    rows = dict.fromkeys((call[0], *call[2].split()[:2]) for call in CALLS)
    expected = "\n".join(line(*row) for row in rows)
    assert PAGE.partition(HEAD)[2].partition("\n\n")[0] == expected


def test_every_function_says_where_its_source_user_stands() -> None:
    assert all("source_user" in inspect.signature(function).parameters for function in FUNCTIONS.values())
    assert "source_user" in PAGE


def test_the_examples_run(company: Company, settings: Settings) -> None:
    company.person("42", "role_stagiaire", "stage_123")
    company.person("43", "role_tuteur", "stage_123")
    for block in BLOCKS[:2]:
        exec(compile(block, "producers.md", "exec"), {})
    with Session(engine(settings)) as session:
        assert [
            event.data.get("action") for event in session.query(NotificationEvent).order_by(NotificationEvent.id)
        ] == ["created", "approved", None, None, "status_changed"]


def test_an_event_joins_the_session_of_the_example(company: Company, settings: Settings) -> None:
    company.person("42", "role_rh", "stage_123")
    address = "postgresql+psycopg2://user:password@localhost/stagebloom"
    assert address in BLOCKS[2]
    found: dict[str, Any] = {}
    exec(compile(BLOCKS[2].replace(address, settings.database), "producers.md", "exec"), found)
    found["engine"].dispose()
    with Session(engine(settings)) as session:
        assert session.scalars(select(NotificationEvent.id)).all() == [found["event_id"]]
    assert not hasattr(found["event"], "wait")


def test_the_tables_that_it_names_are_ours() -> None:
    named = re.findall(r"`(\w+)`", PAGE.split("Ours stand in its schema `public`:")[1].split("[more]")[0])
    assert len(named) > 5
    assert set(named) <= {*Base.metadata.tables, "alembic_version"}


def test_the_catalogue_that_it_shows_is_taken(
    company: Company, settings: Settings, session: Session, tmp_path: Path
) -> None:
    company.person("42", "role_accounting", "entreprise_7")
    file = tmp_path / "catalog.json"
    file.write_text(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
    own = settings.model_copy(update={"catalog_file": file})
    data = {"number": 9, "buyer_id": "42", "company_id": 7}
    event = record_event(session, EventDraft(event_type="invoice", data=data), own)
    assert (event.category, event.notification_type) == ("BILLING", "info")
    assert event.audience == [["role_accounting"], ["user_42"]]
    assert event.texts["en"]["message"] == "Invoice 9 has arrived."
    event = record_event(session, EventDraft(event_type="invoice", data={**data, "action": "overdue"}), own)
    assert (event.notification_type, event.texts["en"]["title"]) == ("warning", "New invoice")
    assert event.audience == [["role_accounting", "entreprise_7"]]


def test_the_watches_can_be_made() -> None:
    from producer.integrations.sqlalchemy import unwatch

    try:
        exec(compile(BLOCKS[3], "producers.md", "exec"), {"Employee": Employee, "Stage": Stage})
    finally:
        unwatch(Employee)
        unwatch(Stage)
