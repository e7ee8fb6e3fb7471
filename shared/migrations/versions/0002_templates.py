"""Texts of the application's own, per name and locale; events in rich text."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
CREATE TABLE notification_templates (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    locale text NOT NULL,
    version integer NOT NULL,
    title text NOT NULL,
    message text NOT NULL,
    format text NOT NULL DEFAULT 'plain' CONSTRAINT template_format_known
        CHECK (format IN ('plain', 'rich')),
    variables jsonb NOT NULL DEFAULT '[]',
    is_active boolean NOT NULL DEFAULT false,
    created_by bigint REFERENCES users (id) ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (name, locale, version)
);
CREATE UNIQUE INDEX notification_templates_active ON notification_templates (name, locale) WHERE is_active;
CREATE INDEX notification_templates_created_by ON notification_templates (created_by)
    WHERE created_by IS NOT NULL;

ALTER TABLE notification_events
    ADD COLUMN format text NOT NULL DEFAULT 'plain' CONSTRAINT format_known CHECK (format IN ('plain', 'rich')),
    ADD COLUMN template_faults jsonb;
CREATE INDEX notification_events_template_faults ON notification_events (id) WHERE template_faults IS NOT NULL;
"""

UNDO = """
ALTER TABLE notification_events DROP COLUMN format, DROP COLUMN template_faults;
DROP TABLE notification_templates;
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute(UNDO)
