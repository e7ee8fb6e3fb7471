"""Other channels: what is to be sent, was sent, or failed."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

TABLES = """
CREATE TABLE deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id bigint NOT NULL REFERENCES notification_events (id) ON DELETE CASCADE,
    recipient_id bigint REFERENCES users (id) ON DELETE CASCADE,
    channel text NOT NULL,
    status text NOT NULL DEFAULT 'pending' CONSTRAINT delivery_status_known
        CHECK (status IN ('pending', 'sending', 'sent', 'failed', 'skipped')),
    reason text,
    attempts smallint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz,
    error text,
    provider_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE NULLS NOT DISTINCT (event_id, recipient_id, channel)
);
CREATE INDEX deliveries_due ON deliveries (channel, next_attempt_at) WHERE status IN ('pending', 'sending');
CREATE INDEX deliveries_in_order ON deliveries (channel, event_id) WHERE status IN ('pending', 'sending');
CREATE INDEX deliveries_failed ON deliveries (id) WHERE status = 'failed';
CREATE INDEX deliveries_recipient_id ON deliveries (recipient_id) WHERE recipient_id IS NOT NULL;

CREATE TABLE delivery_plans (
    event_id bigint NOT NULL,
    n integer NOT NULL,
    channel text NOT NULL,
    due_at timestamptz NOT NULL,
    PRIMARY KEY (event_id, n, channel),
    FOREIGN KEY (event_id, n) REFERENCES event_batches (event_id, n) ON DELETE CASCADE
);
CREATE INDEX delivery_plans_due_at ON delivery_plans (due_at);

CREATE TABLE delivery_channels (
    channel text PRIMARY KEY,
    failures integer NOT NULL DEFAULT 0,
    paused_until timestamptz,
    error text
);
INSERT INTO delivery_channels (channel) VALUES ('email'), ('webhook');
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE delivery_channels, delivery_plans, deliveries")
