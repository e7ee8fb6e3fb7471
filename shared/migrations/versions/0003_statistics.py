"""Counts that are kept, not counted, and who is connected."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = """
CREATE TABLE gateways (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    heard_at timestamptz NOT NULL DEFAULT now()
);

-- No foreign key to users: connects come by the thousand, and a row lives as long as its socket.
CREATE TABLE websocket_connections (
    gateway_id bigint NOT NULL REFERENCES gateways (id) ON DELETE CASCADE,
    number bigint NOT NULL,
    user_id bigint NOT NULL,
    connected_at timestamptz NOT NULL,
    PRIMARY KEY (gateway_id, number)
);
CREATE INDEX websocket_connections_user_id ON websocket_connections (user_id);

-- One bit per person of a batch, in its order: set again it changes nothing.
CREATE TABLE batch_receipts (
    event_id bigint NOT NULL,
    n integer NOT NULL,
    delivered bytea NOT NULL DEFAULT '',
    PRIMARY KEY (event_id, n),
    FOREIGN KEY (event_id, n) REFERENCES event_batches (event_id, n) ON DELETE CASCADE
) WITH (fillfactor = 50);  -- several gateways set bits within seconds: room on the same page

-- Appended by whoever changes something, in the same transaction; folded into the counts and deleted.
CREATE TABLE count_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what text NOT NULL CONSTRAINT what_known CHECK (what IN ('delivered', 'seen', 'read', 'deleted')),
    event_ids bigint[] NOT NULL,
    user_ids bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE socket_times (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id bigint NOT NULL,
    people integer NOT NULL,
    handed_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE event_counts (
    event_id bigint PRIMARY KEY REFERENCES notification_events (id) ON DELETE CASCADE,
    roles text[] NOT NULL DEFAULT '{}',
    stored bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    seen bigint NOT NULL DEFAULT 0,
    read bigint NOT NULL DEFAULT 0,
    deleted bigint NOT NULL DEFAULT 0
);

CREATE TABLE daily_counts (
    day date NOT NULL,
    role text NOT NULL,
    notification_type text NOT NULL,
    category text NOT NULL,
    sent bigint NOT NULL DEFAULT 0,
    stored bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    seen bigint NOT NULL DEFAULT 0,
    read bigint NOT NULL DEFAULT 0,
    deleted bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (day, role, notification_type, category)
);

CREATE TABLE hourly_times (
    hour timestamptz NOT NULL,
    step text NOT NULL CONSTRAINT step_known CHECK (step IN ('store', 'socket')),
    bucket smallint NOT NULL,
    people bigint NOT NULL,
    PRIMARY KEY (hour, step, bucket)
);

-- One row: batches stored by transactions up to this one are in the counts.
CREATE TABLE counting (
    is_only boolean PRIMARY KEY DEFAULT true CONSTRAINT one_row CHECK (is_only),
    stored_xid xid8 NOT NULL,
    counted_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO counting (stored_xid) VALUES (pg_current_xact_id());
"""

UNDO = """
DROP TABLE counting, hourly_times, daily_counts, event_counts, socket_times, count_changes, batch_receipts,
           websocket_connections, gateways;
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute(UNDO)
