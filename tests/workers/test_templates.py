"""A template's words on their way to people: one batch and one frame per locale, not per person."""

from __future__ import annotations

import json

from sqlalchemy import text

from shared import templates
from shared.database import transaction
from shared.events import EventDraft, record_event
from shared.settings import Settings
from shared.templates import TemplateDraft
from tests.company import Company
from workers import planning
from workers.publishing import _messages


def test_everyone_of_a_locale_gets_the_same_frame_in_its_words(company: Company, settings: Settings) -> None:
    people = {
        locale: company.people(
            [f"{locale}-{n}" for n in range(5)], "stage_7", locale=None if locale == "none" else locale
        )
        for locale in ("fr", "en-GB", "de", "ja", "none")
    }
    with transaction(settings) as session:
        for locale, title in {"fr": "Étape {{ stage_id }}", "de": "Praktikum {{ stage_id }}"}.items():
            draft = TemplateDraft(
                name="stage_update", locale=locale, title=title, message="<b>{{ stage_id }}</b>", format="rich"
            )
            templates.activate(session, "stage_update", locale, templates.save(session, draft).version)
        record_event(session, EventDraft(event_type="stage_update", data={"stage_id": 7}), settings)
    with transaction(settings) as session:
        turn = planning.process_events(session, settings)
    messages = list(_messages(turn.batches))
    frames = {frozenset(message.recipient_ids): json.loads(message.frame)["notification"] for message in messages}
    told = {people: (shown["title"], shown["message"], shown["format"]) for people, shown in frames.items()}
    assert told == {
        frozenset(people["fr"] + people["ja"] + people["none"]): ("Étape 7", "<b>7</b>", "rich"),
        frozenset(people["de"]): ("Praktikum 7", "<b>7</b>", "rich"),
        frozenset(people["en-GB"]): ("Internship updated", "Internship 7 was updated.", "rich"),
    }
    with transaction(settings) as session:
        assert session.scalar(text("SELECT count(*) FROM notifications")) == 25
