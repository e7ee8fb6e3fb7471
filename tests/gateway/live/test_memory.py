"""What thousands of browsers cost the process that serves them."""

from __future__ import annotations

import pytest

from shared.tokens import issue_token
from tests.swarm import Swarm
from tests.system import wait_until

PEOPLE = 5000
MOST_BYTES = 15 * 1024 * 1024


@pytest.mark.timeout(300)
def test_5000_browsers_cost_less_than_15_mb_and_get_each_frame_once(
    gateway, company, worker, settings, record_property
):
    names = [str(number) for number in range(PEOPLE)]
    ids = company.people(names, "role_stagiaire")
    tokens = [issue_token(settings, name) for name in names]
    with gateway.connect(tokens[0]):  # what the first connection loads is no cost per connection
        before = gateway.resident_bytes()
    with Swarm(gateway.port, tokens) as swarm:
        connect_seconds = swarm.connect()
        message = worker.store(ids, title="Pour tous")
        worker.publish(message)
        frame_seconds = swarm.run_until(lambda: swarm.total >= PEOPLE)
        grown = gateway.resident_bytes() - before

        worker.publish(message)  # again: must reach nobody
        marker = worker.send(ids[:1], title="Marque")
        swarm.run_until(lambda: marker in swarm.members[0].event_ids)
        record_property("bytes_per_socket", grown // PEOPLE)
        record_property("connects_per_second", int(PEOPLE / connect_seconds))
        record_property("frames_per_second", int(PEOPLE / frame_seconds))
        assert swarm.duplicates == 0
        assert swarm.lost == 0
        assert swarm.extensions_accepted == 0
        assert all(member.event_ids[:1] == [message.event_id] for member in swarm.members)
        assert grown < MOST_BYTES
    wait_until(lambda: gateway.counts()["connections"] == 0, "all connections are forgotten")
