"""Made-up people: the shares are exact, stages have their two people, and more can always be added."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared import seed as seeding
from shared.seed import DEMO_PEOPLE, seed, seed_demo
from shared.settings import Settings
from tests.company import Company

ROLES = text("SELECT group_name, count(*) FROM memberships WHERE starts_with(group_name, 'role_') GROUP BY 1")
STAGES = text("""
    SELECT array_agg(role.group_name ORDER BY role.group_name) FROM memberships stage
    JOIN memberships role USING (user_id)
    WHERE starts_with(stage.group_name, 'stage_') AND starts_with(role.group_name, 'role_')
    GROUP BY stage.group_name
""")
IDS = text("SELECT external_id::int FROM users ORDER BY 1")


def roles(session: Session) -> dict[str, int]:
    session.rollback()
    return {name.removeprefix("role_"): count for name, count in session.execute(ROLES)}


def seeded(settings: Settings, people: int) -> list[int]:
    return list(seed(settings, people))


def test_of_a_thousand_there_are_900_80_15_and_5(settings: Settings, session: Session) -> None:
    seeded(settings, 1000)
    assert roles(session) == {"stagiaire": 900, "tuteur": 80, "rh": 15, "admin": 5}


def test_every_stage_has_one_stagiaire_and_one_tuteur_and_every_stagiaire_a_stage(
    settings: Settings, session: Session
) -> None:
    seeded(settings, 1000)
    found = session.scalars(STAGES).all()
    assert len(found) == 900
    assert all(people == ["role_stagiaire", "role_tuteur"] for people in found)


def test_tuteurs_share_the_stages_evenly(settings: Settings, session: Session) -> None:
    seeded(settings, 1000)
    counts = session.scalars(
        text("""
        SELECT count(*) FROM memberships JOIN memberships role USING (user_id)
        WHERE starts_with(memberships.group_name, 'stage_') AND role.group_name = 'role_tuteur' GROUP BY user_id
    """)
    ).all()
    assert len(counts) == 80
    assert set(counts) <= {11, 12}


def test_seeding_again_adds_as_many_more(settings: Settings, session: Session) -> None:
    seeded(settings, 200)
    seeded(settings, 1000)
    assert roles(session) == {"stagiaire": 1080, "tuteur": 96, "rh": 18, "admin": 6}
    assert list(session.scalars(IDS)) == list(range(1, 1201))
    assert all(people == ["role_stagiaire", "role_tuteur"] for people in session.scalars(STAGES))


@pytest.mark.parametrize("people", [1, 2, 3, 4, 5, 13])
def test_a_handful_is_no_special_case(settings: Settings, session: Session, people: int) -> None:
    assert seeded(settings, people)[-1] == people
    assert sum(roles(session).values()) == people
    assert all(found[0] == "role_stagiaire" and len(found) <= 2 for found in session.scalars(STAGES))
    assert (len(roles(session)) == 4) is (people >= 4)


def test_people_who_are_there_already_stay_as_they_are(settings: Settings, company: Company, session: Session) -> None:
    company.person("anna", "role_rh")
    company.person("41", "role_admin")
    seeded(settings, 10)
    assert list(
        session.scalars(text("SELECT external_id FROM users WHERE external_id <> 'anna' ORDER BY external_id::int"))
    ) == [str(n) for n in range(41, 52)]


def test_an_interrupted_seeding_leaves_whole_people_and_more_can_be_added(
    settings: Settings, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeding, "CHUNK", 100)
    interrupted = seed(settings, 1000)
    assert [next(interrupted), next(interrupted), next(interrupted)] == [100, 200, 300]
    interrupted.close()
    assert sum(roles(session).values()) == 300
    assert len(session.scalars(STAGES).all()) == roles(session)["stagiaire"] == 200
    seeded(settings, 1000)
    assert list(session.scalars(IDS)) == list(range(1, 1301))


def test_two_seedings_at_once_take_turns(settings: Settings, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeding, "CHUNK", 100)
    done: list[Any] = []
    threads = [threading.Thread(target=lambda: done.append(seeded(settings, 500))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [steps[-1] for steps in done] == [500, 500]
    assert roles(session) == {"stagiaire": 900, "tuteur": 80, "rh": 16, "admin": 4}


def test_the_demonstration_is_put_in_once(settings: Settings, session: Session) -> None:
    assert seed_demo(settings)
    assert not seed_demo(settings)
    assert sum(roles(session).values()) == DEMO_PEOPLE
    groups = {
        name.rstrip("0123456789") for name in session.scalars(text("SELECT DISTINCT group_name FROM memberships"))
    }
    assert groups >= {"entreprise_", "survey_", "stage_", "role_admin", "role_rh"}


def test_the_demonstration_leaves_a_company_that_has_people_alone(settings: Settings, company: Company) -> None:
    company.person("42")
    assert not seed_demo(settings)
    assert company.count("users") == 1
