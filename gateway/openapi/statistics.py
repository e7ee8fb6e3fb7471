"""The doors of statistics and connections."""

from __future__ import annotations

from pydantic import Field

from gateway.openapi.door import ADMINS, MOMENT, PEOPLE, Answer, Door


class Own(Answer):
    total: int
    unread: int
    seen: int
    read: int


class Statistics(Own):
    read_rate: float | None
    by_type: dict[str, Own]
    by_category: dict[str, Own]
    by_day: dict[str, Own]


class Counts(Answer):
    sent: int
    stored: int
    delivered: int
    seen: int
    read: int
    deleted: int


class ByRole(Answer):
    connections: int
    people: int = Field(description="added up over the gateways: someone with tabs at two is counted at both")


class Gateway(Answer):
    name: str
    started_at: str
    connections: int


class Connections(Answer):
    total: int
    people: int = Field(description="added up over the gateways: someone with tabs at two is counted at both")
    by_role: dict[str, ByRole]
    gateways: list[Gateway]


class Queue(Answer):
    pending: int
    pending_bulk: int
    planned: int
    unstored_batches: int
    unpublished_batches: int
    pending_deliveries: int = Field(description="mails and webhooks to be sent; counted up to 10,000")
    oldest_unprocessed_seconds: float | None
    broker: dict[str, int] | None = Field(description="messages waiting; null when the broker does not answer")


class Times(Answer):
    notifications: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Channel(Answer):
    sent: int
    failed: int
    skipped: int
    pending: int = Field(description="to be sent now, whatever the day; counted up to 10,000")
    success_rate: float | None = Field(description="sent of sent and failed")


class System(Answer):
    since: str
    counted_at: str | None
    total: Counts
    delivery_success_rate: float | None = Field(description="delivered over a socket, of stored")
    read_rate: float | None
    by_role: dict[str, Counts]
    by_type: dict[str, Counts]
    by_category: dict[str, Counts]
    by_day: dict[str, Counts]
    deliveries: dict[str, Channel]
    connections: Connections
    queue: Queue
    times: dict[str, Times]


class Who(Answer):
    id: str
    name: str


class Connection(Answer):
    user: Who
    gateway: str
    connected_at: str
    is_active: bool


class ConnectionList(Answer):
    next: str | None
    previous: str | None
    results: list[Connection]


OWN = {"total": 12, "unread": 2, "seen": 11, "read": 10}
COUNTS = {"sent": 12, "stored": 12, "delivered": 11, "seen": 11, "read": 10, "deleted": 1}
TIMES = {"notifications": 12, "p50_ms": 22.6, "p95_ms": 45.3, "p99_ms": 90.5}

DOORS = {
    "statistics.own": Door(
        who=PEOPLE, answer=Statistics,
        example={**OWN, "read_rate": 0.8333, "by_type": {"info": OWN}, "by_category": {"STAGE": OWN}, "by_day": {"2026-11-30": OWN}},
    ),
    "statistics.system": Door(
        who=ADMINS, answer=System, query={"days": "how many days, today included; 7 unless given"},
        example={
            "since": "2026-11-24", "counted_at": MOMENT, "total": COUNTS, "delivery_success_rate": 0.9167, "read_rate": 0.8333,
            "by_role": {"rh": COUNTS}, "by_type": {"info": COUNTS}, "by_category": {"STAGE": COUNTS}, "by_day": {"2026-11-30": COUNTS},
            "deliveries": {"email": {"sent": 5, "failed": 1, "skipped": 2, "pending": 0, "success_rate": 0.8333}},
            "connections": {
                "total": 3, "people": 2, "by_role": {"rh": {"connections": 3, "people": 2}},
                "gateways": [{"name": "host-1", "started_at": MOMENT, "connections": 3}],
            },
            "queue": {
                "pending": 0, "pending_bulk": 0, "planned": 0, "unstored_batches": 0, "unpublished_batches": 0, "pending_deliveries": 0,
                "oldest_unprocessed_seconds": None, "broker": {"events": 0, "bulk": 0},
            },
            "times": {"store": TIMES, "socket": TIMES},
        },
    ),
    "statistics.connections": Door(
        who=PEOPLE, answer=ConnectionList, query={"cursor": "from a `next` address", "page_size": "1 to 1000; 100 unless given"},
        example={"next": None, "previous": None, "results": [{"user": {"id": "42", "name": "Ann"}, "gateway": "host-1", "connected_at": MOMENT, "is_active": True}]},
    ),
}  # fmt: skip
