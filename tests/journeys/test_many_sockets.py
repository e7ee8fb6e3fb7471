"""5,000 browsers of 5,000 people on one gateway process: what they cost, that each gets its frame once and is counted."""

from __future__ import annotations

import os
from pathlib import Path

from producer import NotificationService
from shared.database import transaction
from shared.settings import Settings
from shared.statistics import connection_counts
from shared.tokens import issue_token
from tests.company import Company
from tests.swarm import Swarm
from tests.system import System, wait_until

SOCKETS = 5000
MOST_GROWTH_BYTES = 15_000_000


def resident_bytes(process_id: int) -> int:
    """Memory of a process that is in RAM."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def serving_process(system: System) -> int:
    """The one gunicorn worker; its parent only watches."""
    master = system.process_id("web")
    (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return int(worker)


def test_5_000_sockets_cost_little_and_each_gets_a_role_event_once(
    system: System, company: Company, settings: Settings
) -> None:
    system.kill("web")
    system.start_missing()  # a fresh process: what earlier tests made it allocate would hide what these cost
    people = [str(n) for n in range(SOCKETS)]
    company.people(people, "role_all")
    process = serving_process(system)
    with Swarm(system.port, [issue_token(settings, person) for person in people]) as swarm:
        before = resident_bytes(process)
        swarm.connect()
        sent = NotificationService().send_role_notifications(["all"], "T", "M")
        swarm.run_until(lambda: swarm.total >= SOCKETS)
        NotificationService().send_notification("0", "last", "M")
        swarm.run_until(lambda: swarm.members[0].event_ids[-1] != sent.id)
        growth = resident_bytes(process) - before

        assert [member.event_ids for member in swarm.members[1:]] == [[sent.id]] * (SOCKETS - 1)
        assert (swarm.duplicates, swarm.lost, swarm.extensions_accepted) == (0, 0, 0)
        assert growth < MOST_GROWTH_BYTES, f"{growth / SOCKETS:.0f} bytes a socket"

        def counted() -> object:
            with transaction(settings) as session:
                return connection_counts(session)["by_role"]

        wait_until(lambda: counted() == {"all": {"connections": SOCKETS, "people": SOCKETS}}, "all are counted")
        print(f"{SOCKETS} sockets: {growth / 1e6:.1f} MB, {growth / SOCKETS:.0f} bytes each")
