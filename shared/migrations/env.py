"""Alembic's entry: runs the migrations on the connection that `shared.migrations` holds."""

from __future__ import annotations

from alembic import context

from shared.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
