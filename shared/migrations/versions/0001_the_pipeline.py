"""The tables of the pipeline: people, events, plans, notifications."""

from __future__ import annotations

from alembic import op
from sqlalchemy.orm import Session

from shared.partitions import make_partitions

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE installation (id uuid PRIMARY KEY DEFAULT gen_random_uuid());
INSERT INTO installation DEFAULT VALUES;

CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    external_id text NOT NULL UNIQUE,
    name text NOT NULL DEFAULT '',
    email text,
    phone text,
    locale text,
    timezone text,
    is_active boolean NOT NULL DEFAULT true,
    changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX users_changed_xid ON users (changed_xid);

CREATE TABLE groups (
    name text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE memberships (
    group_name text NOT NULL REFERENCES groups (name) ON DELETE CASCADE,
    user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (group_name, user_id)
);
CREATE INDEX memberships_user_id ON memberships (user_id);

CREATE SEQUENCE notification_event_ids;

-- Seconds and 22 bits of a sequence: two producers never collide (milliseconds with 10 bits did, by the
-- thousand in a million). clock_timestamp(), so that a long transaction's events are not dated back.
CREATE FUNCTION next_event_id() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (floor(extract(epoch FROM clock_timestamp()) - 1704067200)::bigint << 22)
         | (nextval('notification_event_ids') & 4194303)
$$;

CREATE TABLE notification_events (
    id bigint PRIMARY KEY DEFAULT next_event_id(),
    event_type text NOT NULL,
    category text NOT NULL,
    notification_type text NOT NULL CONSTRAINT notification_type_known
        CHECK (notification_type IN ('info', 'success', 'warning', 'error')),
    texts jsonb NOT NULL,
    search_text text NOT NULL,
    data jsonb NOT NULL,
    link text,
    image text,
    actions jsonb NOT NULL DEFAULT '[]',
    thread_key text,
    priority text NOT NULL DEFAULT 'normal' CONSTRAINT priority_known
        CHECK (priority IN ('low', 'normal', 'high', 'critical')),
    audience jsonb NOT NULL,
    exclude jsonb NOT NULL DEFAULT '[]',
    source_user_id bigint REFERENCES users (id) ON DELETE SET NULL,
    source text NOT NULL DEFAULT '',
    idempotency_key text,
    content_hash text NOT NULL,
    status text NOT NULL DEFAULT 'pending' CONSTRAINT status_known
        CHECK (status IN ('pending', 'planned', 'processed', 'failed')),
    bulk boolean NOT NULL DEFAULT false,
    attempts smallint NOT NULL DEFAULT 0,
    retry_at timestamptz,
    error text,
    recipient_count integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    planned_at timestamptz,
    processed_at timestamptz,
    UNIQUE (source, idempotency_key)
);
CREATE INDEX notification_events_pending ON notification_events (bulk, id) WHERE status = 'pending';
CREATE INDEX notification_events_planned ON notification_events (id) WHERE status = 'planned';
CREATE INDEX notification_events_source_user ON notification_events (source_user_id)
    WHERE source_user_id IS NOT NULL;

CREATE TABLE event_batches (
    event_id bigint NOT NULL REFERENCES notification_events (id) ON DELETE CASCADE,
    n integer NOT NULL,
    kind text NOT NULL,
    locale text NOT NULL,
    recipient_ids bigint[] NOT NULL,
    stored_xid xid8,
    stored_at timestamptz,
    published_at timestamptz,
    PRIMARY KEY (event_id, n)
);
CREATE INDEX event_batches_unstored ON event_batches (event_id, n) WHERE stored_at IS NULL;
CREATE INDEX event_batches_unpublished ON event_batches (event_id, n)
    WHERE stored_at IS NOT NULL AND published_at IS NULL;
CREATE INDEX event_batches_stored_xid ON event_batches (stored_xid);

CREATE TABLE notifications (
    recipient_id bigint NOT NULL,
    event_id bigint NOT NULL,
    stored_xid xid8 NOT NULL,
    delivered_at timestamptz,
    seen_at timestamptz,
    read_at timestamptz,
    archived_at timestamptz,
    deleted_at timestamptz,
    PRIMARY KEY (recipient_id, event_id)
) PARTITION BY RANGE (event_id);
CREATE INDEX notifications_unread ON notifications (recipient_id, event_id)
    WHERE read_at IS NULL AND deleted_at IS NULL;
"""

UNDO = """
DROP TABLE notifications, event_batches, notification_events, memberships, groups, users, installation;
DROP FUNCTION next_event_id();
DROP SEQUENCE notification_event_ids;
"""


def upgrade() -> None:
    op.execute(TABLES)
    make_partitions(Session(op.get_bind()))


def downgrade() -> None:
    op.execute(UNDO)
