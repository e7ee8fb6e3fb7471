"""`stagebloom service` and `stagebloom audit`, as processes of their own."""

from __future__ import annotations

import json

from shared.database import transaction
from shared.services import find_service
from shared.settings import Settings
from tests.company import Company
from tests.shared.test_cli import answered, refused


def test_a_services_life_from_its_first_key_to_its_last(settings: Settings, company: Company) -> None:
    key = answered("service", "add", "billing", "--may", "events").strip()
    with transaction(settings) as session:
        assert find_service(session, key).permissions == ("events",)
    assert "there is a service 'billing' already" in refused("service", "add", "billing")

    new = answered("service", "rotate", "billing").strip()
    assert "no service has this key" in refused_key(settings, key)
    assert json.loads(answered("service", "list", "--json"))["is_active"] is True
    answered("service", "disable", "billing")
    assert "disabled" in refused_key(settings, new)
    assert "billing" in answered("service", "list")
    assert "there is no service" in refused("service", "disable", "other")

    log = [json.loads(line) for line in answered("audit", "--json").splitlines()]
    assert [(row["actor"], row["action"], row["target"]) for row in log] == [
        ("cli", f"service.{act}", "billing") for act in ("disable", "rotate", "add")
    ]
    assert key not in json.dumps(log)


def test_a_send_is_in_the_log_and_the_log_can_be_filtered(company: Company) -> None:
    company.person("1", "role_rh")
    answered("send", "--role", "rh", "--title", "T", "--message", "M")
    assert "notification.send" in answered("audit", "--actor", "cli", "--since", "2026-01-01")
    assert answered("audit", "--json", "--action", "template.change") == ""
    assert answered("audit", "--json", "--until", "2026-01-01 00:00:00") == ""


def refused_key(settings: Settings, key: str) -> str:
    from shared.errors import Unauthorized

    try:
        with transaction(settings) as session:
            find_service(session, key)
    except Unauthorized as error:
        return error.message
    raise AssertionError("the key was accepted")
