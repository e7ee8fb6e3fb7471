"""People, groups and memberships: set-based, exact, and telling only of those who changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text
from sqlalchemy.orm import Session

from producer import Directory, Person
from shared.database import engine, transaction
from shared.directory import sync_groups
from shared.errors import InvalidInput
from shared.settings import Settings
from tests.company import Company
from tests.system import wait_until


@pytest.fixture
def directory(company: Company, settings: Settings) -> Directory:
    company.people(["1", "2", "3"], "role_rh", "stage_7")
    company.person("4", "role_admin")
    return Directory(settings=settings)


def members(settings: Settings, group: str) -> list[str]:
    with transaction(settings) as session:
        return list(
            session.scalars(
                text("SELECT external_id FROM memberships JOIN users ON id = user_id WHERE group_name = :g ORDER BY 1"),
                {"g": group},
            )
        )


def horizon(settings: Settings) -> int:
    with transaction(settings) as session:
        return int(session.scalar(text("SELECT pg_current_xact_id()::text")) or 0)


def changed_since(settings: Settings, xid: int) -> list[str]:
    with transaction(settings) as session:
        return list(
            session.scalars(
                text("SELECT external_id FROM users WHERE changed_xid > CAST(CAST(:xid AS text) AS xid8) ORDER BY 1"),
                {"xid": str(xid)},
            )
        )


CHANGES: list[tuple[str, Callable[[Directory], None], list[str]]] = [
    ("a new person", lambda d: d.upsert_people([Person("5", "Eve")]), ["5"]),
    ("a new name", lambda d: d.upsert_people([Person("1", "Anna"), Person("2", "Person 2")]), ["1"]),
    ("nothing new", lambda d: d.upsert_people([Person("1", "Person 1"), Person(2, "Person 2")]), []),
    ("one joins, one is in already", lambda d: d.add_members("role_rh", ["3", 4]), ["4"]),
    ("one leaves, one is not in", lambda d: d.remove_members("role_rh", ["3", "4"]), ["3"]),
    ("a group as it should be", lambda d: d.sync_members("role_rh", ["2", "3", "4"]), ["1", "4"]),
    ("a group as it is", lambda d: d.sync_members("role_rh", ["3", "2", "1", "1"]), []),
    ("a group for nobody", lambda d: d.sync_members("stage_7", []), ["1", "2", "3"]),
    (
        "roles as they should be",
        lambda d: d.set_roles({"1": ["rh"], 2: ["rh", "admin"], "3": [], "4": ["tuteur"]}),
        ["2", "3", "4"],
    ),
    ("a deactivation", lambda d: d.deactivate(["1", "4"]), ["1", "4"]),
    ("an activation of the active", lambda d: d.activate(["1"]), []),
    ("an object with an id", lambda d: d.deactivate([SimpleNamespace(id=1)]), ["1"]),
]


@pytest.mark.parametrize(("change", "people"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_only_who_changed_is_looked_at_again(
    directory: Directory, settings: Settings, change: Callable[[Directory], None], people: list[str]
) -> None:
    before = horizon(settings)
    change(directory)
    assert changed_since(settings, before) == people


def test_a_person_is_brought_up_to_date_whole(directory: Directory, session: Session) -> None:
    directory.upsert_people([Person("1", "Anna", "a@b.test", "+33 1", "en-GB", "Europe/Paris")])
    directory.upsert_people([Person(1, "Anna Ü", None, "+33 2", None, "UTC", is_active=False)])
    row = session.execute(
        text("SELECT name, email, phone, locale, timezone, is_active FROM users WHERE external_id = '1'")
    ).one()
    assert tuple(row) == ("Anna Ü", None, "+33 2", None, "UTC", False)


def test_the_last_word_on_a_person_counts(directory: Directory, session: Session) -> None:
    directory.upsert_people([Person("5", "old"), Person(5, "new")])
    assert session.scalars(text("SELECT name FROM users WHERE external_id = '5'")).all() == ["new"]


def test_groups_and_roles_are_exactly_as_said(directory: Directory, settings: Settings) -> None:
    directory.set_roles({"1": ["admin"], "2": [], "3": ["rh", "tuteur"]})
    assert members(settings, "role_rh") == ["3"]
    assert members(settings, "role_admin") == ["1", "4"]
    assert members(settings, "role_tuteur") == ["3"]
    assert members(settings, "stage_7") == ["1", "2", "3"], "other groups stay"
    directory.sync_members("stage_7", ["4", "1"])
    assert members(settings, "stage_7") == ["1", "4"]
    directory.add_memberships([("stage_7", 2), ("stage_8", "2"), ("stage_8", "2")])
    assert (members(settings, "stage_7"), members(settings, "stage_8")) == (["1", "2", "4"], ["2"])


def test_an_empty_group_is_known_from_then_on(directory: Directory, session: Session) -> None:
    directory.add_groups(["survey_1", "survey_1", "stage_7"])
    directory.sync_members("survey_2", [])
    assert session.scalar(text("SELECT count(*) FROM groups WHERE name LIKE 'survey%'")) == 2


REFUSED: list[tuple[str, Callable[[Any], object]]] = [
    ("people: .*ghost", lambda d: d.deactivate(["1", "ghost"])),
    ("people: .*ghost", lambda d: d.activate(["ghost"])),
    ("people: .*ghost", lambda d: d.add_members("role_rh", ["ghost"])),
    ("people: .*ghost", lambda d: d.remove_members("role_rh", ["1", "ghost"])),
    ("people: .*ghost", lambda d: d.sync_members("role_rh", ["ghost"])),
    ("people: .*ghost", lambda d: d.set_roles({"ghost": ["rh"]})),
    ("group: .*stage_99", lambda d: d.remove_members("stage_99", ["1"])),
    *((f"group: .*{name}", lambda d, name=name: d.add_groups([name])) for name in ("everyone", "user_1", "user_")),
    ("group: .*user_1", lambda d: d.add_members("user_1", ["2"])),
    ("group: .*everyone", lambda d: d.sync_members("everyone", [])),
    ("group: .*everyone", lambda d: d.remove_members("everyone", ["1"])),
    ("group: .*'a b'", lambda d: d.add_groups(["fine", "a b"])),
    ("group: ", lambda d: d.add_groups([None])),
    ("group: ", lambda d: d.add_groups(["a\x00"])),
    ("groups: ", lambda d: d.add_groups("role_rh")),
    ("groups: ", lambda d: d.add_groups(None)),
    ("people: ", lambda d: d.add_members("role_rh", "12")),
    ("people: ", lambda d: d.sync_members("role_rh", None)),
    ("person: ", lambda d: d.add_members("role_rh", [None])),
    ("person: ", lambda d: d.deactivate(["a\x00"])),
    (r"group: .* U\+200B", lambda d: d.add_groups(["role_rh\u200b"])),
    (r"roles: .* U\+FEFF", lambda d: d.set_roles({"1": ["rh\ufeff"]})),
    (r"person: .* U\+202E", lambda d: d.upsert_people([Person("rtl\u202eg")])),
    (r"person: .* U\+200D", lambda d: d.add_members("role_rh", ["1\u200d"])),
    ("person: ", lambda d: d.deactivate(["\ud800"])),
    ("memberships: ", lambda d: d.add_memberships(["role_rh"])),
    ("memberships: ", lambda d: d.add_memberships([("role_rh", "1", "2")])),
    ("roles: ", lambda d: d.set_roles([("1", ["rh"])])),
    ("roles: ", lambda d: d.set_roles({"1": "rh"})),
    ("roles: ", lambda d: d.set_roles({"1": ["a b"]})),
    ("roles: ", lambda d: d.set_roles({"1": [""]})),
    ("id: ", lambda d: d.upsert_people([Person("a b")])),
    ("id: ", lambda d: d.upsert_people([Person("7 & role_rh")])),
    ("id: ", lambda d: d.upsert_people([Person("x" * 196)])),
    ("person: ", lambda d: d.upsert_people([Person("")])),
    ("person: ", lambda d: d.upsert_people([Person(True)])),
    ("name: ", lambda d: d.upsert_people([Person("5"), Person("6", None)])),  # type: ignore[arg-type]
    ("name: ", lambda d: d.upsert_people([Person("5", "a\x00")])),
    (r"name: .* U\+000A", lambda d: d.upsert_people([Person("5", "Ann\nBcc: x")])),
    (r"name: .* U\+202E", lambda d: d.upsert_people([Person("5", "Ann\u202e")])),
    (r"name: .* U\+009B", lambda d: d.upsert_people([Person("5"), Person("6", "Ann\x9b")])),
    (r"email: .* U\+000D", lambda d: d.upsert_people([Person("5", email="a@b.test\r")])),
    ("email: ", lambda d: d.upsert_people([Person("5", email="\ud800")])),
    *(
        (f"email: .*{email}", lambda d, email=email: d.upsert_people([Person("5"), Person("6", email=email)]))
        for email in ("ann", "@b.test", "ann@", "a@b@c.test", "a b@c.test", "Ann <a@b.test>")
    ),
    ("phone: ", lambda d: d.upsert_people([Person("5", phone=33)])),  # type: ignore[arg-type]
    ("is_active: ", lambda d: d.upsert_people([Person("5", is_active=None)])),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("message", "change"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_wrong_is_named_and_nothing_changes(
    directory: Directory, settings: Settings, company: Company, message: str, change: Callable[[Any], object]
) -> None:
    before, counts = horizon(settings), [company.count(table) for table in ("users", "groups", "memberships")]
    with pytest.raises(InvalidInput, match=f"^{message}"):
        change(directory)
    assert [company.count(table) for table in ("users", "groups", "memberships")] == counts
    assert changed_since(settings, before) == []


def test_a_change_is_part_of_the_caller_s_transaction(directory: Directory, settings: Settings) -> None:
    with Session(engine(settings)) as session:
        own = Directory(session, settings)
        own.upsert_people([Person("5")])
        own.add_members("role_rh", ["5"])
        assert members(settings, "role_rh") == ["1", "2", "3"]
        session.rollback()
        own.remove_members("role_rh", ["1"])
        session.commit()
    assert members(settings, "role_rh") == ["2", "3"]


@pytest.fixture
def statements(settings: Settings) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    sqlalchemy_event.listen(engine(settings), "before_cursor_execute", note)
    yield seen
    sqlalchemy_event.remove(engine(settings), "before_cursor_execute", note)


def test_twenty_thousand_people_are_a_handful_of_statements(
    directory: Directory, company: Company, statements: list[str]
) -> None:
    ids = [f"n{n}" for n in range(20_000)]
    started = time.monotonic()
    directory.upsert_people(Person(external_id, f"Person {external_id}") for external_id in ids)
    directory.set_roles({external_id: ["guest"] for external_id in ids})
    directory.add_memberships((f"stage_{n % 5000}", external_id) for n, external_id in enumerate(ids))
    directory.sync_members("role_guest", ids[:10_000])
    directory.deactivate(ids)
    assert len(statements) <= 25
    assert time.monotonic() - started < 60
    assert company.count("memberships") == 7 + 20_000 + 10_000


def test_many_groups_become_exactly_as_said_in_a_handful_of_statements(
    directory: Directory, settings: Settings, session: Session, statements: list[str]
) -> None:
    groups = {f"stage_{n}": ["1", "2" if n % 2 else "3"] for n in range(300)}
    with transaction(settings) as own:
        assert sync_groups(own, groups) == 3
    assert len(statements) <= 8
    assert [members(settings, f"stage_{n}") for n in (6, 7)] == [["1", "3"], ["1", "2"]]
    assert members(settings, "role_rh") == ["1", "2", "3"], "others stay as they are"


BLOCKED = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
AT_ONCE: list[tuple[Callable[[Directory, list[str]], None], Callable[[Settings], list[str]]]] = [
    (lambda d, names: d.sync_members("stage_8", names), lambda settings: members(settings, "stage_8")),
    (
        lambda d, names: d.set_roles({"5": names}),
        lambda settings: [name for name in "12" if members(settings, f"role_{name}")],
    ),
]


@pytest.mark.parametrize(("change", "outcome"), AT_ONCE, ids=["members", "roles"])
def test_of_two_syncs_at_once_the_last_counts_and_never_both(
    directory: Directory,
    settings: Settings,
    session: Session,
    change: Callable[[Directory, list[str]], None],
    outcome: Callable[[Settings], list[str]],
) -> None:
    directory.add_groups(["stage_8", "role_1", "role_2"])
    directory.upsert_people([Person("5")])
    with ThreadPoolExecutor(1) as pool, Session(engine(settings)) as first:
        change(Directory(first, settings), ["1"])
        second = pool.submit(change, Directory(settings=settings), ["2"])
        wait_until(lambda: session.scalar(BLOCKED), "the second waits for the first")
        first.commit()
        second.result(20)
    assert outcome(settings) == ["2"]


def test_two_changes_of_the_same_people_never_deadlock(
    directory: Directory, settings: Settings, company: Company
) -> None:
    ids = [f"n{n}" for n in range(500)]
    company.people(ids)

    def change(n: int) -> None:
        some = ids if n % 2 else ids[::-1]
        own = Directory(settings=settings)
        own.set_roles({external_id: [f"r{n}"] for external_id in some})
        own.upsert_people(Person(external_id, f"name {n}") for external_id in some)
        own.deactivate(some) if n % 2 else own.activate(some)
        own.sync_members("stage_7", some[: n * 10])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(8)))
