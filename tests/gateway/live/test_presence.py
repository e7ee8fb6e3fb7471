"""Who is connected stands in the database, within a second, and goes with its gateway."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from shared import directory
from shared.database import transaction
from shared.models import Gateway, WebSocketConnection
from shared.statistics import connection_counts
from tests.gateway.live.gateway_process import GatewayProcess
from tests.system import wait_until

QUICK = {"record_seconds": 0.05, "alive_seconds": 0.2, "tail_seconds": 0.2}
SILENT_FOR_30_SECONDS = text("UPDATE gateways SET heard_at = now() - interval '31 seconds'")


@pytest.fixture(scope="module")
def shared_quick(settings):
    with GatewayProcess(settings, limits=QUICK) as process:
        yield process


@pytest.fixture
def quick(shared_quick, clean):
    """A gateway in a hurry."""
    return shared_quick


def who(settings):
    """The people of active connections, by external id."""
    with transaction(settings) as session:
        found = session.scalars(select(WebSocketConnection).where(WebSocketConnection.is_active)).all()
        assert all(connection.is_active for connection in found)
        return sorted(connection.user.external_id for connection in found)


def counts(settings):
    with transaction(settings) as session:
        return connection_counts(session)


def test_connections_come_and_go(quick, company, settings):
    company.people(["1", "2"], "role_rh")
    with quick.connect(company.token("1")), quick.connect(company.token("1")), quick.connect(company.token("2")):
        wait_until(lambda: who(settings) == ["1", "1", "2"], "three connections", explain=quick.log)
        found = counts(settings)
        assert (found["total"], found["people"]) == (3, 2)
        assert found["by_role"] == {"rh": {"connections": 3, "people": 2}}
        assert [one["connections"] for one in found["gateways"] if one["connections"]] == [3]
    wait_until(lambda: who(settings) == [], "all have left", explain=quick.log)


def by_role(settings):
    """Connections and people of each role."""
    return {role: tuple(held.values()) for role, held in counts(settings)["by_role"].items()}


def test_a_person_counts_in_each_of_their_roles(quick, company, settings):
    company.person("1", "role_rh", "role_admin", "stage_7")
    company.person("2", "role_rh")
    company.person("3")
    with (
        quick.connect(company.token("1")),
        quick.connect(company.token("1")),
        quick.connect(company.token("2")),
        quick.connect(company.token("3")),
    ):
        wait_until(lambda: counts(settings)["total"] == 4, "four connections", explain=quick.log)
        assert counts(settings)["people"] == 3
        assert by_role(settings) == {"admin": (2, 1), "rh": (3, 2)}
    wait_until(lambda: (counts(settings)["total"], by_role(settings)) == (0, {}), "all have left", explain=quick.log)


def test_roles_that_change_while_people_are_connected_change_the_counts(quick, company, settings):
    company.people(["1", "2"], "role_rh")
    with quick.connect(company.token("1")), quick.connect(company.token("1")), quick.connect(company.token("2")):
        wait_until(lambda: by_role(settings) == {"rh": (3, 2)}, "three connections", explain=quick.log)
        with transaction(settings) as session:
            directory.set_roles(session, {"1": ["tuteur", "admin"]})
        wait_until(
            lambda: by_role(settings) == {"admin": (2, 1), "rh": (1, 1), "tuteur": (2, 1)},
            "the new roles of both tabs",
            explain=quick.log,
        )
        with transaction(settings) as session:
            directory.set_roles(session, {"1": [], "2": []})
        wait_until(lambda: by_role(settings) == {}, "nobody has a role", explain=quick.log)
        assert counts(settings)["total"] == 3
        with quick.connect(company.token("2")):
            wait_until(lambda: counts(settings)["total"] == 4, "one more", explain=quick.log)
            assert by_role(settings) == {}


def test_gateways_are_added_up_each_with_its_own_people(quick, start_gateway, company, settings):
    other = start_gateway(limits=QUICK)
    company.people(["1", "2"], "role_rh")
    with quick.connect(company.token("1")), other.connect(company.token("1")), other.connect(company.token("2")):
        wait_until(lambda: counts(settings)["total"] == 3, "three connections", explain=quick.log)
        found = counts(settings)
        assert (found["people"], by_role(settings)) == (3, {"rh": (3, 3)})  # 1 is one of the people of both
        assert sorted(one["connections"] for one in found["gateways"] if one["connections"]) == [1, 2]


def test_the_connections_of_a_killed_gateway_expire(quick, start_gateway, company, settings):
    killed = start_gateway(limits=QUICK)
    company.person("1", "role_rh")
    company.person("2", "role_tuteur")
    with killed.connect(company.token("1")), quick.connect(company.token("2")):
        wait_until(lambda: who(settings) == ["1", "2"], "both are there")
        killed.kill()
        assert who(settings) == ["1", "2"]  # it has not been silent for long enough
        with transaction(settings) as session:
            session.execute(SILENT_FOR_30_SECONDS)
        wait_until(lambda: who(settings) == ["2"], "only the living gateway is heard again")
        assert (counts(settings)["total"], by_role(settings)) == (1, {"tuteur": (1, 1)})


def test_a_gateway_that_ends_takes_its_connections_along(start_gateway, company, settings):
    gateway = start_gateway(limits=QUICK)
    company.person("1")
    with gateway.connect(company.token("1")):
        wait_until(lambda: who(settings) == ["1"], "it is there")
        with transaction(settings) as session:
            mine = session.scalars(select(WebSocketConnection.gateway_id)).one()
        gateway.terminate()
        with transaction(settings) as session:
            assert session.get(Gateway, mine) is None
            assert session.scalars(select(WebSocketConnection)).all() == []


def test_a_gateway_that_was_forgotten_registers_anew_with_all_it_holds(quick, company, settings):
    company.person("1", "role_rh")
    with quick.connect(company.token("1")):
        wait_until(lambda: who(settings) == ["1"], "it is there")
        with transaction(settings) as session:
            session.execute(text("DELETE FROM gateways"))
        wait_until(lambda: who(settings) == ["1"], "it is there again", explain=quick.log)
        assert by_role(settings) == {"rh": (1, 1)}
    wait_until(lambda: who(settings) == [], "it has left", explain=quick.log)


def test_who_comes_and_goes_at_once_leaves_nothing(quick, company, settings):
    company.person("1")
    for _ in range(30):
        with quick.connect(company.token("1")):
            pass
    wait_until(lambda: quick.counts()["connections"] == 0 and who(settings) == [], "nothing is left", explain=quick.log)
