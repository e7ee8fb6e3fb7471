"""The schema's history: from nothing to head and back, by one process at a time, and as the models say."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlalchemy.orm import Session

from shared import migrations
from shared.errors import InvalidInput, SettingsError, Unavailable
from shared.installation import installation_id
from shared.models import Base
from shared.settings import Settings
from tests.databases import new_database

pytestmark = pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")

OURS = text("""
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
""")


@pytest.fixture
def database(settings: Settings) -> Iterator[Engine]:
    with new_database(settings) as found:
        yield found


def everything(database: Engine) -> set[str]:
    with database.connect() as connection:
        return set(connection.scalars(OURS))


def shape(database: Engine) -> object:
    found = inspect(database)
    return {
        table: (
            found.get_columns(table),
            found.get_indexes(table),
            found.get_pk_constraint(table),
            found.get_check_constraints(table),
            found.get_foreign_keys(table),
        )
        for table in sorted(found.get_table_names())
        if table != "alembic_version"
    }


def test_from_nothing_to_head_and_back_leaves_nothing(database: Engine) -> None:
    assert everything(database) == set()
    assert migrations.current(database) is None
    migrations.upgrade(database)
    assert migrations.current(database) == migrations.head()
    before = repr(shape(database))
    migrations.downgrade(database, "base")
    assert everything(database) == set()
    assert migrations.current(database) is None
    migrations.upgrade(database)
    assert repr(shape(database)) == before


def test_at_head_there_is_nothing_to_do(database: Engine) -> None:
    migrations.upgrade(database)
    with Session(database) as session:
        first = installation_id(session)
    migrations.upgrade(database)
    with Session(database) as session:
        assert installation_id(session) == first


def test_two_installations_have_different_ids(database: Engine, settings: Settings) -> None:
    migrations.upgrade(database)
    with new_database(settings) as other:
        migrations.upgrade(other)
        with Session(database) as one, Session(other) as two:
            assert installation_id(one) != installation_id(two)


def test_models_and_migrations_agree(database: Engine) -> None:
    migrations.upgrade(database)

    def is_compared(thing: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
        is_partition = kind == "table" and reflected and (name or "").startswith("notifications_")
        return not is_partition

    with database.connect() as connection:
        options = {"compare_type": True, "compare_server_default": False, "include_object": is_compared}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []


def test_partial_indexes_and_defaults_are_those_of_the_models(database: Engine, settings: Settings) -> None:
    """What alembic does not compare: the models' own tables, made in another database, are the same."""
    indexes = text(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version' AND tablename !~ '_2[0-9]{7}$'"
    )
    checks = text(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype IN ('c', 'f', 'u') AND conparentid = 0 AND connamespace = 'public'::regnamespace"
    )
    defaults = text("""
        SELECT table_name, column_name, column_default, is_nullable, data_type FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> 'alembic_version' AND table_name !~ '_2[0-9]{7}$'
          AND (table_name, column_name) <> ('notification_events', 'id')
    """)
    migrations.upgrade(database)
    with new_database(settings) as other:
        Base.metadata.create_all(other)
        with database.connect() as migrated, other.connect() as modelled:
            for question in (indexes, checks, defaults):
                assert sorted(map(repr, migrated.execute(question))) == sorted(map(repr, modelled.execute(question)))


def test_deliveries_that_ended_before_they_were_counted_are_counted(database: Engine) -> None:
    migrations.upgrade(database, "0005")
    with database.begin() as connection:
        connection.execute(
            text("""
            WITH event AS (
                INSERT INTO notification_events (event_type, category, notification_type, texts, search_text, data, audience, content_hash, created_at)
                SELECT 'x', 'X', 'info', '{}', '', '{}', '[]', '', at FROM unnest(ARRAY['2026-11-01Z', '2026-11-01 23:59Z', '2026-11-02Z']::timestamptz[]) AS at
                RETURNING id
            )
            INSERT INTO deliveries (event_id, channel, status)
            SELECT id, channel, CASE channel WHEN 'email' THEN 'failed' WHEN 'webhook' THEN 'sent' ELSE 'pending' END
            FROM event, unnest(ARRAY['email', 'webhook', 'pigeon']) AS channel
        """)
        )
    migrations.upgrade(database)
    with database.connect() as connection:
        counts = text("SELECT day::text, channel, status, deliveries FROM daily_deliveries ORDER BY 1, 2")
        assert list(map(tuple, connection.execute(counts))) == [
            ("2026-11-01", "email", "failed", 2),
            ("2026-11-01", "webhook", "sent", 2),
            ("2026-11-02", "email", "failed", 1),
            ("2026-11-02", "webhook", "sent", 1),
        ]


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory.from_config(migrations._config()).get_heads()) == 1


def test_several_upgrades_at_once_migrate_once(database: Engine) -> None:
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            migrations.upgrade(database)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with database.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM installation")) == 1
        assert (
            connection.scalar(
                text(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            )
            == 0
        )


def test_a_migration_that_fails_leaves_nothing_and_no_lock(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("CREATE FUNCTION next_event_id() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"))
    with pytest.raises(Exception, match='"next_event_id" already exists'):
        migrations.upgrade(database)
    assert everything(database) - {"alembic_version", "alembic_version_pkc", "_alembic_version"} == {"next_event_id"}
    with database.begin() as connection:
        connection.execute(text("DROP FUNCTION next_event_id"))
    migrations.upgrade(database)
    assert migrations.current(database) == migrations.head()


def test_a_revision_that_nobody_knows_is_refused_by_name(database: Engine) -> None:
    migrations.upgrade(database)
    with pytest.raises(InvalidInput, match="9999"):
        migrations.upgrade(database, "9999")
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9998'"))
    with pytest.raises(InvalidInput, match="9998"):
        migrations.upgrade(database)


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        ("CREATE TABLE users (id int); CREATE TABLE orders (id int)", r"\(users\)"),
        ("CREATE VIEW groups AS SELECT 1 AS id", r"\(groups\)"),
        (
            "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('0001'), ('ab12')",
            r"\(alembic_version at (0001, ab12|ab12, 0001)\)",
        ),
    ],
)
def test_a_database_of_another_application_is_refused_and_left_as_it_is(
    database: Engine, statements: str, named: str
) -> None:
    with database.begin() as connection:
        connection.execute(text(statements))
    before = everything(database)
    for move in (migrations.upgrade, migrations.current, lambda database: migrations.downgrade(database, "base")):
        with pytest.raises(SettingsError, match=f"another application {named}: give StageBloom"):
            move(database)
        assert everything(database) == before


def test_tables_of_other_names_are_no_hindrance(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id int)"))
    migrations.upgrade(database)
    assert migrations.current(database) == migrations.head()


def test_before_the_first_migration_the_cause_is_said(database: Engine) -> None:
    migrations.upgrade(database)
    with Session(database) as session:
        session.execute(text("DELETE FROM installation"))
        with pytest.raises(Unavailable, match="stagebloom migrate"):
            installation_id(session)
