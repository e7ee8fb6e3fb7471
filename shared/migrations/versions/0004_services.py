"""Services that may send, and the log of who did what."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

# One index for each way the log is asked for: all of it, one actor's part, one kind of act; newest first.
TABLES = """
CREATE TABLE services (
    name text PRIMARY KEY,
    key_hash text NOT NULL UNIQUE,
    permissions text[] NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz
);

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL DEFAULT '',
    details jsonb NOT NULL DEFAULT '{}',
    address text,
    request_id text
);
CREATE INDEX audit_log_at ON audit_log (at, id);
CREATE INDEX audit_log_actor ON audit_log (actor, at, id);
CREATE INDEX audit_log_action ON audit_log (action, at, id);

-- Admins ask for what failed: a handful among millions.
CREATE INDEX notification_events_failed ON notification_events (id) WHERE status = 'failed';
"""

UNDO = "DROP INDEX notification_events_failed; DROP TABLE audit_log, services"


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute(UNDO)
