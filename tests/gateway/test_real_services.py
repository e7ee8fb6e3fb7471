"""The gateway as it is shipped: what it refuses is in the audit log a moment later, and when it ends."""

from __future__ import annotations

import signal

import httpx

from gateway.refusals import FLUSH_SECONDS
from shared.audit import Filters, list_records
from shared.database import transaction
from shared.settings import Settings
from tests.company import Company
from tests.system import System, wait_until

BROADCAST = "/api/notifications/send-broadcast/"


def refusals(settings: Settings) -> int:
    with transaction(settings) as session:
        return sum(row.details["count"] for row in list_records(session, Filters(action="permission.refused"), 100)[0])


def test_refusals_are_written_within_seconds_and_the_last_ones_at_the_end(system: System, company: Company) -> None:
    company.person("sam", "role_stagiaire")

    def try_to_send() -> None:
        answer = httpx.post(
            system.base_url + BROADCAST, json={"title": "T", "message": "M"}, headers=company.bearer("sam")
        )
        assert answer.status_code == 403

    try_to_send()
    wait_until(lambda: refusals(system.settings) == 1, "the refusal is written", FLUSH_SECONDS + 10, system.logs)
    try_to_send()
    system.kill("web", signal.SIGTERM)
    assert refusals(system.settings) == 2
