"""Made-up people for demonstrations and measurements, by the hundred or the million.

90 % stagiaires, 8 % tuteurs, 1.5 % rh, 0.5 % admin; every stagiaire has a stage of their own with one
tuteur. Everything is made in SQL, in chunks, so that a million takes two minutes and no memory (60 % of it for foreign keys).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.audit import COMMAND_LINE, Actor, record
from shared.database import transaction
from shared.settings import Settings

DEMO_PEOPLE = 300
CHUNK = 20_000  # people made in one transaction: under a second
SHARES = (("admin", 0.005), ("rh", 0.015), ("tuteur", 0.08))  # the rest are stagiaires

FIRST_NAMES = (
    "Aïcha Amélie Antoine Baptiste Camille Chloé Clément Éléonore Élise Étienne Fatou François Gaël Hélène Hugo Inès "
    "Jeanne Jérôme Julien Karim Léa Léo Loïc Lucie Maëlys Malik Margaux Maxime Mehdi Nadia Naïm Noémie Océane Paul "
    "Quentin Raphaël Romane Salomé Samir Sofia Solène Théo Thomas Valentin Yasmine Yanis Zoé"
).split()
LAST_NAMES = (
    "André Aubert Benali Bernard Besançon Blanchet Bonnet Caron Chevalier Dà-Silva Diallo Dubois Dupré Durand Faure "
    "Fontaine Garnier Gauthier Girard Guérin Haddad Henry Lacroix Lambert Lefèvre Leroy Martin Mercier Moreau Müller "
    "N’Diaye Noël Perrin Petit Picard Renaud Rivière Robert Rousseau Roux Sanchez Simon Tessier Traoré Vidal"
).split()

PEOPLE = text(
    """
    INSERT INTO users (external_id, name, email, locale, timezone)
    SELECT n::text, :first_names[1 + n % :firsts] || ' ' || :last_names[1 + (17 * n + n / :firsts) % :lasts],
           'person' || n || '@example.test', CASE WHEN n % 10 = 0 THEN 'en' ELSE 'fr' END, 'Europe/Paris'
    FROM generate_series(CAST(:first AS bigint), :last) AS n
""".replace(":first_names", "(CAST(:first_names AS text[]))").replace(":last_names", "(CAST(:last_names AS text[]))")
)

ROLES = text("""
    INSERT INTO memberships (group_name, user_id)
    SELECT CASE WHEN external_id::bigint < :tuteurs_from THEN
                CASE WHEN external_id::bigint < :rh_from THEN 'role_admin' ELSE 'role_rh' END
           ELSE CASE WHEN external_id::bigint < :stagiaires_from THEN 'role_tuteur' ELSE 'role_stagiaire' END END, id
    FROM users WHERE external_id = ANY(ARRAY(SELECT n::text FROM generate_series(CAST(:first AS bigint), :last) AS n))
    ORDER BY 1, 2
""")

STAGE_GROUPS = text(
    "INSERT INTO groups (name) SELECT 'stage_' || n FROM generate_series(CAST(:first AS bigint), :last) AS n ON CONFLICT DO NOTHING"
)

STAGES = text("""
    INSERT INTO memberships (group_name, user_id)
    SELECT 'stage_' || stage, users.id
    FROM generate_series(CAST(:first AS bigint), :last) AS stage
    CROSS JOIN LATERAL (VALUES (stage), (:tuteurs_from + stage % nullif(:tuteurs, 0))) AS participant (external_id)
    JOIN users ON users.external_id = participant.external_id::text
    ORDER BY 1, 2
""")

NEXT_ID = text("SELECT coalesce(max(external_id::bigint), 0) + 1 FROM users WHERE external_id ~ '^[0-9]{1,15}$'")
LOCK = text("SELECT pg_advisory_xact_lock(hashtext('stagebloom seed'))")
ADD_GROUPS = text("INSERT INTO groups (name) SELECT unnest(CAST(:names AS text[])) ON CONFLICT DO NOTHING")

# Of the demonstration company: three companies with their stagiaires and rh, two surveys among stagiaires.
DEMO_GROUPS = text("""
    INSERT INTO memberships (group_name, user_id)
    SELECT 'entreprise_' || 1 + external_id::bigint % 3, users.id
    FROM users JOIN memberships ON user_id = users.id AND group_name IN ('role_stagiaire', 'role_rh')
    UNION ALL
    SELECT 'survey_' || survey, users.id
    FROM generate_series(1, 2) AS survey, users JOIN memberships ON user_id = users.id AND group_name = 'role_stagiaire'
    WHERE external_id::bigint % 2 = survey % 2
    ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class Ranges:
    """Where each role's application ids begin among those of one seeding."""

    first: int
    rh_from: int
    tuteurs_from: int
    stagiaires_from: int
    last: int


def seed(settings: Settings, people: int) -> Iterator[int]:
    """Add this many made-up people; yields how many are done, chunk by chunk.

    Each chunk is a transaction: interrupted, what was made stays whole, and more can be added.
    """
    with transaction(settings) as guard:
        guard.execute(LOCK)  # held to the end: whoever seeds meanwhile takes the ids after these
        with transaction(settings) as session:
            ranges = _reserve(session, people)
            _note(session, people)
        done = ranges.first
        while done <= ranges.last:
            chunk = {"first": done, "last": min(done + CHUNK - 1, ranges.last)}
            with transaction(settings) as session:
                _make(session, ranges, chunk)
            done = chunk["last"] + 1
            yield done - ranges.first
        with transaction(settings) as session:
            session.execute(text("ANALYZE users, groups, memberships"))


def seed_demo(settings: Settings) -> bool:
    """Put in the demonstration company unless there are people already; whether it was put in."""
    with transaction(settings) as session:
        session.execute(LOCK)
        if session.scalar(text("SELECT EXISTS (SELECT FROM users)")):
            return False
        ranges = _reserve(session, DEMO_PEOPLE)
        _make(session, ranges, {"first": ranges.first, "last": ranges.last})
        names = [f"entreprise_{n}" for n in (1, 2, 3)] + [f"survey_{n}" for n in (1, 2)]
        session.execute(ADD_GROUPS, {"names": names})
        session.execute(DEMO_GROUPS)
        _note(session, DEMO_PEOPLE)
        return True


def _note(session: Session, people: int) -> None:
    record(session, Actor(COMMAND_LINE), "people.seed", details={"count": people})


def _reserve(session: Session, people: int) -> Ranges:
    """The next free ids, shared out among the roles. Under LOCK."""
    session.execute(ADD_GROUPS, {"names": ["role_admin", "role_rh", "role_tuteur", "role_stagiaire"]})
    first = session.scalar(NEXT_ID) or 1
    starts = [first]
    for _, share in SHARES:
        starts.append(starts[-1] + max(1, round(people * share)) if people >= 4 else starts[-1])
    return Ranges(starts[0], starts[1], starts[2], starts[3], first + people - 1)


def _make(session: Session, ranges: Ranges, chunk: dict[str, int]) -> None:
    names = {"first_names": FIRST_NAMES, "last_names": LAST_NAMES, "firsts": len(FIRST_NAMES), "lasts": len(LAST_NAMES)}
    session.execute(PEOPLE, {**chunk, **names})
    bounds = {"rh_from": ranges.rh_from, "tuteurs_from": ranges.tuteurs_from, "stagiaires_from": ranges.stagiaires_from}
    session.execute(ROLES, {**chunk, **bounds})
    stages = {"first": max(chunk["first"], ranges.stagiaires_from), "last": chunk["last"]}
    if stages["first"] <= stages["last"]:
        session.execute(STAGE_GROUPS, stages)
        tuteurs = ranges.stagiaires_from - ranges.tuteurs_from
        session.execute(STAGES, {**stages, "tuteurs_from": ranges.tuteurs_from, "tuteurs": tuteurs})
