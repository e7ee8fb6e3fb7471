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
"""

UNDO = """
DROP INDEX notification_events_kind;
ALTER TABLE gateways DROP connections, DROP people, DROP by_role;
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    op.execute(UNDO)
