"""A person of the earlier system as they are here, and what of their row can't come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shared.audience import NAME
from shared.directory import MAX_TEXT
from shared.importing.rules import Refused, Remarks, Rules
from shared.importing.values import NO_TEXT, text_of, truth_of
from shared.models import ROLE, USER
from shared.texts import one_line

STAGE = "stage_"


@dataclass(frozen=True, slots=True)
class OldPerson:
    external_id: str
    name: str
    email: str | None
    is_active: bool
    groups: list[str]


def read_people(rows: Iterable[Any], rules: Rules, remarks: Remarks) -> list[OldPerson]:
    """Those that can come, of two with the same id the first; what can't is remarked."""
    taken: dict[str, OldPerson] = {}
    for row in rows:
        try:
            person = _read_person(row, rules, remarks)
        except Refused as reason:
            remarks.add(str(reason), row.id)
            continue
        if person.external_id in taken:
            remarks.add("person: an earlier row has the same id", row.id)
        taken.setdefault(person.external_id, person)
    return list(taken.values())


def _read_person(row: Any, rules: Rules, remarks: Remarks) -> OldPerson:
    """The person; what of them can't come is left out and remarked. Raises: Refused."""
    external_id = text_of(row.id)
    if not external_id or not NAME.fullmatch(USER + external_id):
        raise Refused("person: the id can't be addressed")
    is_active = True if row.is_active is None else truth_of(row.is_active)
    if is_active is None:
        remarks.add("person taken as inactive: the row says neither", external_id)
    first, last, username = (
        one_line(_part(what, value, external_id, remarks))
        for what, value in (("first name", row.first_name), ("last name", row.last_name), ("username", row.username))
    )
    email = _part("address", row.email, external_id, remarks).strip()
    if email != one_line(email):
        remarks.add("person taken without address: it has control characters", external_id)
        email = ""
    name = " ".join(part for part in (first, last) if part) or username
    groups = _groups(row, rules, external_id, remarks)
    return OldPerson(external_id, name[:MAX_TEXT], email or None, bool(is_active), groups)


def _part(what: str, value: Any, external_id: str, remarks: Remarks) -> str:
    found = text_of(value)
    if found is None or len(found) > MAX_TEXT:
        remarks.add(f"person taken without {what}: it is {NO_TEXT}, of at most {MAX_TEXT} characters", external_id)
        return ""
    return found


def _groups(row: Any, rules: Rules, external_id: str, remarks: Remarks) -> list[str]:
    role = "" if row.role is None else str(row.role).strip()
    role = rules.roles.get(role, role)
    if role and not NAME.fullmatch(ROLE + role):
        remarks.add(
            "person taken without role: it has spaces or one of & | , ; ! ( ) (see --role)", f"{external_id}: {role}"
        )
        role = ""
    if role != role.lower():
        remarks.add(
            "person taken, with capital letters in the role: case counts (see --role)", f"{external_id}: {role}"
        )
    stage = "" if row.stage is None else str(row.stage).strip()
    if stage and not row.stage_is_there:
        remarks.add("person taken without stage: it is gone", f"{external_id}: {stage}")
        stage = ""
    if stage and not NAME.fullmatch(STAGE + stage):
        remarks.add("person taken without stage: it has spaces or one of & | , ; ! ( )", f"{external_id}: {stage}")
        stage = ""
    return [prefix + name for prefix, name in ((ROLE, role), (STAGE, stage)) if name]
