"""Statistics that stay quick as everything grows."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

CHANGES = """
-- Each gateway counts its own sockets; joining connections and memberships took a second for 80,000.
ALTER TABLE gateways ADD connections integer NOT NULL DEFAULT 0, ADD people integer NOT NULL DEFAULT 0,
                     ADD by_role jsonb NOT NULL DEFAULT '{}';

-- A person's statistics are read out of this alone; an event is some 700 bytes, its entry here 50.
CREATE INDEX notification_events_kind ON notification_events (id) INCLUDE (notification_type, category, created_at);

-- How deliveries ended, of the events of a day; those that have ended already are counted here once.
CREATE TABLE daily_deliveries (
    day date NOT NULL,
    channel text NOT NULL,
    status text NOT NULL CONSTRAINT delivery_ended CHECK (status IN ('sent', 'failed', 'skipped')),
    deliveries bigint NOT NULL,
    PRIMARY KEY (day, channel, status)
);
INSERT INTO daily_deliveries (day, channel, status, deliveries)
SELECT (event.created_at AT TIME ZONE 'UTC')::date, channel, deliveries.status, count(*)
FROM deliveries JOIN notification_events event ON event.id = event_id
WHERE deliveries.status IN ('sent', 'failed', 'skipped') GROUP BY 1, 2, 3;
"""

UNDO = """
DROP TABLE daily_deliveries;
DROP INDEX notification_events_kind;
ALTER TABLE gateways DROP connections, DROP people, DROP by_role;
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    op.execute(UNDO)
