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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from shared import directory
from shared.directory import Person, person_id
from shared.events import EventDraft, record_event
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


@dataclass(frozen=True, slots=True)
class Seen:
    """A row that was inserted or changed, with its events."""

    watch: Watch
    row: Any
    drafts: Sequence[EventDraft]


def record_seen(session: Session, seen: Sequence[Seen], settings: Settings) -> set[str]:
    """Follow people and groups, then record the events; the tasks to ring for.

    Raises: InvalidInput and its kinds: see `shared.errors`.
    """
    rings = {ANNOUNCE_PEOPLE} if _follow(session, seen) else set()
    for one in seen:
        for draft in one.drafts:
            record_event(session, draft, settings)
            rings.add(PROCESS_EVENT)
    return rings


def _follow(session: Session, seen: Sequence[Seen]) -> bool:
    """Bring people, their roles and the groups up to date; whether anyone changed."""
    people = [one.watch.person(one.row) for one in seen if one.watch.person]
    roles = {_id(one): list(one.watch.roles(one.row)) for one in seen if one.watch.roles}
    groups = {
        name: members for one in seen if one.watch.members for name, members in one.watch.members(one.row).items()
    }
    changed = directory.upsert_people(session, people) if people else 0
    changed += directory.set_roles(session, roles) if roles else 0
    for name, members in groups.items():
        changed += directory.sync_members(session, name, [member for member in members if member is not None])
    return changed > 0


def _id(one: Seen) -> str:
    return person_id(one.watch.person(one.row) if one.watch.person else one.row)
