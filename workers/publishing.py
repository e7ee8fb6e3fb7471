"""Step ⑤: word of every stored batch goes to the gateways, once or more, never not at all.

Redis may lose it and a worker may die before sending it: a batch that is not marked published is
published again, from the frozen plan (what INSERT returned would lack what an earlier try stored).
Gateways drop what they have already sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import redis
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.database import transaction
from shared.frames import notification_frame, notification_json
from shared.installation import installation_id
from shared.redis import connect
from shared.settings import get_settings
from shared.topics import BatchMessage, LiveMessage, live_topic

STALE_SECONDS = 5  # a stored batch that nobody published by then was forgotten

LOAD_BATCHES = text("""
    SELECT n, kind, locale, recipient_ids, event.*
    FROM event_batches batch JOIN notification_events event ON event.id = batch.event_id
    JOIN unnest(CAST(:event_ids AS bigint[]), CAST(:ns AS integer[])) AS chosen (id, number)
      ON batch.event_id = chosen.id AND n = number
    ORDER BY batch.event_id, n
""")

FORGOTTEN = text("""
    SELECT event_id, n FROM event_batches
    WHERE stored_at IS NOT NULL AND published_at IS NULL AND stored_at < now() - make_interval(secs => :stale)
    ORDER BY event_id, n LIMIT :limit
""")

MARK_PUBLISHED = text("""
    UPDATE event_batches SET published_at = clock_timestamp()
    FROM unnest(CAST(:event_ids AS bigint[]), CAST(:ns AS integer[])) AS chosen (id, number)
    WHERE event_id = id AND n = number AND published_at IS NULL
""")


@dataclass(slots=True)
class StoredBatch:
    """A batch and what its frame is made of: `event` has the columns of `notification_events`."""

    event: Any
    n: int
    kind: str
    locale: str
    recipient_ids: list[int]

    @property
    def key(self) -> tuple[int, int]:
        return self.event.id, self.n


def load_batches(session: Session, keys: list[tuple[int, int]]) -> list[StoredBatch]:
    """These batches with their events, in order of event and number."""
    values = {"event_ids": [event_id for event_id, _ in keys], "ns": [n for _, n in keys]}
    return [
        StoredBatch(row, row.n, row.kind, row.locale, row.recipient_ids)
        for row in session.execute(LOAD_BATCHES, values)
    ]


def forgotten_batches(session: Session, limit: int = 100) -> list[StoredBatch]:
    """Stored batches whose worker died, or found no Redis, before it could publish them."""
    found = session.execute(FORGOTTEN, {"stale": STALE_SECONDS, "limit": limit})
    keys = [(event_id, n) for event_id, n in found]
    return load_batches(session, keys) if keys else []


def publish(batches: Iterable[StoredBatch]) -> list[tuple[int, int]]:
    """Send each batch to the gateways; the keys of what was sent. Outside of any transaction.

    Raises: redis.RedisError when Redis can't be reached; nothing is then marked, the sweep comes back.
    """
    keys = []
    with _redis().pipeline(transaction=False) as pipeline:
        for message in _messages(batches):
            pipeline.publish(_topic(), message.encode())
            keys.append((message.event_id, message.n))
        pipeline.execute()
    return keys


def announce(message: LiveMessage) -> None:
    """Send one message to the gateways."""
    _redis().publish(_topic(), message.encode())


def mark_published(session: Session, keys: list[tuple[int, int]]) -> None:
    """Note that these were sent. Need not survive a crash: they would be sent again and dropped."""
    session.execute(text("SET LOCAL synchronous_commit = off"))
    session.execute(MARK_PUBLISHED, {"event_ids": [event_id for event_id, _ in keys], "ns": [n for _, n in keys]})


def _messages(batches: Iterable[StoredBatch]) -> Iterator[BatchMessage]:
    """One frame per event, kind and locale, encoded once."""
    for (kind, locale, _), alike in groupby(batches, lambda batch: (batch.kind, batch.locale, batch.event.id)):
        frame = b""
        for batch in alike:
            frame = frame or notification_frame(kind, notification_json(batch.event, locale))
            yield BatchMessage(batch.event.id, batch.n, batch.recipient_ids, frame)


@lru_cache(maxsize=1)
def _redis() -> redis.Redis:
    return connect(get_settings())


@lru_cache(maxsize=1)
def _topic() -> str:
    with transaction() as session:
        return live_topic(installation_id(session))
