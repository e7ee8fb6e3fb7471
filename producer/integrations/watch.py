"""What the rows of an application's class mean: which event, which person, which groups.

    Watch(
        inserted=lambda stage: happened("stage_update", "created", {"stage_id": stage.id}),
        changed={"status": lambda stage, old, new: happened("stage_update", "status_changed", {…})},
        members=lambda stage: {f"stage_{stage.id}": [stage.stagiaire_id, stage.tuteur_id]},
    )

The adapters call these functions; what they return is recorded here, people and groups first, so that
a new stage's participants learn of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from shared import directory
from shared.directory import Person, person_id
from shared.events import EventDraft
from shared.recording import record_events
from shared.settings import Settings
from shared.tasks import ANNOUNCE_PEOPLE, PROCESS_EVENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Functions of a row; each may be left out.

    inserted: the event of a new row; None when it is none.
    changed: {attribute: function of (row, old, new)}: the event of that attribute's change, or None.
    person: the person that this row is. roles: the names of exactly the roles they have.
    members: {group: exactly its people}; None among the people is nobody.
    """

    inserted: Callable[[Any], EventDraft | None] | None = None
    changed: Mapping[str, Callable[[Any, Any, Any], EventDraft | None]] = field(default_factory=dict)
    person: Callable[[Any], Person] | None = None
    roles: Callable[[Any], Iterable[str]] | None = None
    members: Callable[[Any], Mapping[str, Iterable[Any]]] | None = None

    @property
    def follows(self) -> bool:
        """Whether people or groups are kept in step with the rows."""
        return bool(self.person or self.roles or self.members)

    def drafts(self, row: Any, changes: Mapping[str, tuple[Any, Any]] | None) -> list[EventDraft]:
        """The events of one row: of its insert (`changes` is None), or of {attribute: (old, new)}."""
        if changes is None:
            found = [self.inserted(row)] if self.inserted else []
        else:
            found = [self.changed[name](row, old, new) for name, (old, new) in changes.items() if name in self.changed]
        return [draft for draft in found if draft is not None]


@dataclass(kw_only=True, slots=True)
class Seen:
    """What a row says, or several together: people, their roles, whole groups, and events."""

    people: list[Person] = field(default_factory=list)
    roles: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[Any]] = field(default_factory=dict)
    drafts: list[EventDraft] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to record."""
        return not (self.people or self.roles or self.groups or self.drafts)


def follow(what: Watch, row: Any) -> Seen:
    """Who and which groups a row is."""
    person = what.person(row) if what.person else None
    members = what.members(row) if what.members else {}
    return Seen(
        people=[] if person is None else [person],
        roles={person_id(row if person is None else person): list(what.roles(row))} if what.roles else {},
        groups={name: [one for one in people if one is not None] for name, people in members.items()},
    )


def together(seen: Iterable[Seen]) -> Seen:
    """All of it as one; of what is said twice about a group or a person, the last counts."""
    all_of_it = Seen()
    for one in seen:
        all_of_it.people += one.people
        all_of_it.roles |= one.roles
        all_of_it.groups |= one.groups
        all_of_it.drafts += one.drafts
    return all_of_it


def record_seen(session: Session, seen: Seen, settings: Settings) -> set[str]:
    """Follow people and groups, then record the events; the tasks to ring for.

    Raises: InvalidInput and its kinds: see `shared.errors`.
    """
    changed = directory.upsert_people(session, seen.people) if seen.people else 0
    changed += directory.set_roles(session, seen.roles) if seen.roles else 0
    changed += directory.sync_groups(session, seen.groups) if seen.groups else 0
    record_events(session, seen.drafts, settings)
    rings = {ANNOUNCE_PEOPLE: changed > 0, PROCESS_EVENT: bool(seen.drafts)}
    return {task for task, is_wanted in rings.items() if is_wanted}
