"""Who is who: people, groups and memberships, kept in step with the application's own.

A door to `shared.directory`, which does the work. Changes are made in the caller's transaction when a
session is given, otherwise each call is one of its own; the gateways are told after the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy.orm import Session, scoped_session

from producer.outbox import own_session, ring_after_commit
from shared import directory
from shared.audit import Actor
from shared.database import transaction
from shared.directory import Person, person_id
from shared.doorbell import ring
from shared.errors import InvalidInput
from shared.privacy.erasure import erase_person
from shared.settings import Settings, get_settings
from shared.tasks import ANNOUNCE_PEOPLE, CLEAN_UP

__all__ = ["Directory", "Person"]


class Directory:
    """Records people, groups and memberships. Unknown people or groups are refused, never made up."""

    def __init__(
        self, session: Session | scoped_session[Session] | None = None, settings: Settings | None = None
    ) -> None:
        self._session = session
        self._settings = settings or get_settings()

    def upsert_people(self, people: Iterable[Person]) -> None:
        """Add people, or bring those already known up to date."""
        self._change(lambda session: directory.upsert_people(session, people))

    def deactivate(self, people: Iterable[Any]) -> None:
        """These people get nothing more, and their open connections are closed."""
        self._change(lambda session: directory.set_active(session, people, False))

    def activate(self, people: Iterable[Any]) -> None:
        """The way back from `deactivate`."""
        self._change(lambda session: directory.set_active(session, people, True))

    def erase(self, people: Iterable[Any]) -> None:
        """Everything about these people goes, for good; what others were told stays.

        Many transactions of its own, so not within the caller's. Archives follow within the hour. Safe to
        do again after a failure. Raises: NotFound for who is not known; those before are erased then.
        """
        if self._session is not None:
            raise InvalidInput(
                "session: expected a Directory without one: erasing is many transactions", field="session"
            )
        for external_id in [person_id(person) for person in directory.listed(people, "people")]:
            erase_person(self._transact, external_id, Actor("producer"), lambda: ring(ANNOUNCE_PEOPLE, self._settings))
        ring(CLEAN_UP, self._settings)

    def _transact(self, work: Callable[[Session], Any]) -> Any:
        with transaction(self._settings) as session:
            return work(session)

    def add_groups(self, names: Iterable[str]) -> None:
        """Make group names known, so that events can be addressed to them; an empty group is fine."""
        self._change(lambda session: directory.add_groups(session, names))

    def add_members(self, group: str, people: Iterable[Any]) -> None:
        """Put people into a group, next to those who are in it. The group is made known by that."""
        self.add_memberships([(group, person) for person in directory.listed(people, "people")])

    def add_memberships(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Put many people into many groups at once: (group, person) pairs."""
        self._change(lambda session: directory.add_memberships(session, pairs))

    def remove_members(self, group: str, people: Iterable[Any]) -> None:
        """Take people out of a group."""
        self._change(lambda session: directory.remove_members(session, group, people))

    def sync_members(self, group: str, people: Iterable[Any]) -> None:
        """Make these people, and no one else, the members of a group."""
        self._change(lambda session: directory.sync_members(session, group, people))

    def set_roles(self, roles: Mapping[Any, Iterable[str]]) -> None:
        """Give each person exactly these roles: {person: ["rh"]}. Their other groups stay."""
        self._change(lambda session: directory.set_roles(session, roles))

    def _change(self, change: Callable[[Session], object]) -> None:
        """Make a change in the caller's transaction or one of its own, then tell the gateways."""
        session = own_session(self._session)
        if session is not None:
            change(session)
            ring_after_commit(session, ANNOUNCE_PEOPLE, self._settings)
            return
        with transaction(self._settings) as own:
            change(own)
        ring(ANNOUNCE_PEOPLE, self._settings)
