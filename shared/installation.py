"""Which installation a database is: names its topic, its tickets and its cursors."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.errors import Unavailable
from shared.models import Installation


def installation_id(session: Session) -> str:
    """The id of this database's installation. Raises: Unavailable before the first migration."""
    found: str | None = session.scalar(select(Installation.id))
    if found is None:
        raise Unavailable("the database is not migrated: run `stagebloom migrate`")
    return found
