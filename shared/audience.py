"""Who an event is for: a small algebra over group names.

Everything one can address is a group: `user_42`, `role_rh`, `stage_123`, `everyone`. A *term* is an
intersection of groups, an *audience* is a list of terms and a list of exclusions:

    ["role_rh", "role_tuteur & stage_123"]   exclude ["user_7"]
    role("rh") | role("tuteur") & group("stage_123")   .excluding(user(7))

A person who matches several terms is in the first, so nobody is notified twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.errors import InvalidAudience, UnknownGroup
from shared.models import EVERYONE, ROLE, USER
from shared.texts import UNNAMEABLE, fold, refuse_in_name

NAME = re.compile(rf"[^\s&|,;!()\ud800-\udfff{UNNAMEABLE}]{{1,200}}")
NAME_EXPECTED = "a group name of 1 to 200 characters without spaces, & | , ; ! ( )"
MAX_TERMS = 100_000  # 1.5 MB of JSON on the event; a larger audience wants a group
MAX_GROUPS_PER_TERM = 10


@dataclass(frozen=True, slots=True)
class Term:
    """An intersection: the people who are in every one of `groups`.

    Raises: InvalidAudience. However it is made, a term is well-formed.
    """

    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_names(self.groups, "audience", self.groups)

    def __and__(self, other: Term) -> Term:
        if not isinstance(other, Term):
            return NotImplemented
        return Term(tuple(dict.fromkeys(self.groups + other.groups)))

    def __or__(self, other: Term | Audience) -> Audience:
        return Audience((self,)) | other

    def excluding(self, *terms: Term) -> Audience:
        """This term without those people."""
        return Audience((self,)).excluding(*terms)

    def __str__(self) -> str:
        return " & ".join(self.groups)


@dataclass(frozen=True, slots=True)
class Audience:
    """A union of terms, without the people of the excluded groups."""

    terms: tuple[Term, ...] = ()
    exclude: tuple[str, ...] = ()

    def __or__(self, other: Term | Audience) -> Audience:
        more = Audience((other,)) if isinstance(other, Term) else other
        return Audience(
            tuple(dict.fromkeys(self.terms + more.terms)), tuple(dict.fromkeys(self.exclude + more.exclude))
        )

    def __ror__(self, other: Term) -> Audience:
        return Audience((other,)) | self

    def excluding(self, *terms: Term) -> Audience:
        """This audience without the people of those groups (single ones: no intersections)."""
        for term in terms:
            if len(term.groups) != 1:
                raise InvalidAudience.field("exclude", str(term), "a single group, not an intersection")
        names = tuple(name for term in terms for name in term.groups)
        return Audience(self.terms, tuple(dict.fromkeys(self.exclude + names)))

    @property
    def groups(self) -> set[str]:
        """Every name that occurs, also the excluded."""
        return {name for term in self.terms for name in term.groups} | set(self.exclude)


AudienceLike = Audience | Term | str | Iterable[str | Term]


def parse_term(value: str | Term, field: str = "audience") -> Term:
    """`"role_tuteur & stage_123"` as a term. Raises: InvalidAudience saying what is malformed."""
    if isinstance(value, Term):
        return value
    if not isinstance(value, str):
        raise InvalidAudience.field(field, value, 'terms such as "role_rh" or "role_tuteur & stage_123"')
    names = tuple(dict.fromkeys(part.strip() for part in value.split("&")))
    _check_names(names, field, value)
    return Term(names)


def _check_names(names: tuple[str, ...], field: str, value: object) -> None:
    if not isinstance(names, tuple) or not all(isinstance(name, str) and NAME.fullmatch(name) for name in names):
        if isinstance(value, str):
            refuse_in_name(field, value, InvalidAudience)
        raise InvalidAudience.field(field, value, f'{NAME_EXPECTED}; several are joined by "&"')
    if not 1 <= len(names) <= MAX_GROUPS_PER_TERM:
        raise InvalidAudience.field(field, value, f"1 to {MAX_GROUPS_PER_TERM} groups in a term")


def parse_audience(audience: AudienceLike, exclude: Iterable[str | Term] = ()) -> Audience:
    """An audience from any of its forms. Raises: InvalidAudience when it is empty or malformed."""
    if isinstance(audience, Audience):
        terms, excluded = _parse_terms(audience.terms, "audience"), _parse_terms(audience.exclude, "exclude")
    else:
        terms, excluded = _parse_terms(audience, "audience"), []
    excluded += _parse_terms(exclude, "exclude")
    parsed = Audience(tuple(dict.fromkeys(terms))).excluding(*excluded)
    if not parsed.terms:
        raise InvalidAudience.field("audience", [], "at least one term")
    if len(parsed.terms) > MAX_TERMS:
        raise InvalidAudience.field(
            "audience", f"{len(parsed.terms)} terms", f"at most {MAX_TERMS} (make a group of them)"
        )
    return parsed


def _parse_terms(values: object, field: str) -> list[Term]:
    """One term or a list of them."""
    if isinstance(values, (str, Term)):
        return [parse_term(values, field)]
    if not isinstance(values, Iterable) or isinstance(values, (bytes, Mapping)):
        raise InvalidAudience.field(field, values, 'a list of terms such as ["role_rh", "user_42"]')
    return [parse_term(value, field) for value in values]


def role_terms(roles: Iterable[str], field: str = "target_roles") -> list[Term]:
    """`["rh"]` as terms. Raises: InvalidInput when it is no list of role names."""
    if isinstance(roles, (str, bytes, Mapping)) or not isinstance(roles, Iterable):
        raise InvalidAudience.field(field, roles, 'a list of role names such as ["rh"]')
    terms = []
    for name in roles:
        if not isinstance(name, str) or not NAME.fullmatch(ROLE + name) or not name:
            if isinstance(name, str):
                refuse_in_name(field, name, InvalidAudience)
            raise InvalidAudience.field(field, name, 'role names such as "rh"')
        terms.append(Term((ROLE + name,)))
    return terms


# Who is named stays known until the transaction ends: an erasure waits for it, and then finds what it wrote. No
# other change of a person does. In one order, so that nobody waits in a circle.
UNKNOWN = text("""
    WITH people AS (
        SELECT external_id FROM users WHERE external_id = ANY(CAST(:people AS text[])) ORDER BY id FOR KEY SHARE
    )
    SELECT name FROM unnest(CAST(:names AS text[])) AS names (name)
    WHERE name <> :everyone
      AND NOT EXISTS (SELECT FROM groups WHERE groups.name = names.name)
      AND NOT (starts_with(name, :user) AND substr(name, length(:user) + 1) IN (SELECT external_id FROM people))
    ORDER BY name LIMIT 21
""")

# One pass over the groups, for a refusal only: 0.1 s for 300,000 of them. PostgreSQL knows no accents: roles, which are few, are compared here.
SIMILAR = text("""
    SELECT name FROM groups WHERE starts_with(name, :role) OR lower(name) = ANY(CAST(:lowered AS text[]))
    ORDER BY name LIMIT 1000
""")


def refuse_unknown(session: Session, audience: Audience) -> None:
    """Raises: UnknownGroup naming the groups and people nobody has recorded. An empty group is fine."""
    names = sorted(audience.groups)
    people = [name.removeprefix(USER) for name in names if name.startswith(USER)]
    values = {"names": names, "people": people, "everyone": EVERYONE, "user": USER}
    unknown = list(session.scalars(UNKNOWN, values))
    if unknown:
        shown = ", ".join(unknown[:20]) + (", …" if len(unknown) > 20 else "")
        people = [name for name in unknown if name.startswith(USER)]
        groups = [name for name in unknown if not name.startswith(USER)]
        expected = " and ".join([*(["groups"] if groups else []), *(["people"] if people else [])])
        meant = _meant(session, groups) if groups else []
        hints = [
            *([f"did you mean {', '.join(meant)}?"] if meant else []),
            *(["Groups are made known with Directory.add_groups()"] if groups else []),
            *(["People are recorded with Directory.upsert_people() or POST people/"] if people else []),
        ]
        raise UnknownGroup(
            f"audience: expected known {expected}, got {shown}" + ("; " if meant else ". ") + " ".join(hints),
            field="audience",
            unknown=unknown[:20],
        )


def _meant(session: Session, unknown: list[str]) -> list[str]:
    """Known groups that differ only in case, and roles that differ only in case or accents."""
    values = {"role": ROLE, "lowered": [name.lower() for name in unknown]}
    wanted = {fold(name) for name in unknown}
    return [name for name in session.scalars(SIMILAR, values) if fold(name) in wanted]
