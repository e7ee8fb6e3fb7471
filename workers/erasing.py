"""The end of an erasure: archives forget the person, and the row that was left without a name goes.

Guarantees: a person's row says that archives are still to be rewritten until they are; done again after
a failure it goes on. Never: rewrites while a week is being archived (they share retention's lock).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.archive import list_archives, rewrite_archive
from shared.logs import get_logger
from shared.privacy.erasure import ERASED, ERASING, forget_in_archive
from shared.settings import Settings
from workers.retention import LOCK

# A reading of all people, a tenth of a second a million, once an hour.
WAITING = text(
    "SELECT id, external_id FROM users WHERE starts_with(external_id, :erasing) AND NOT is_active ORDER BY id"
)
FORGOTTEN = text(
    "UPDATE users SET external_id = :erased || id WHERE id = ANY(:ids) AND starts_with(external_id, :erasing)"
)
DELETE = text(
    "DELETE FROM users WHERE external_id = :erased || id AND created_at < now() - interval '1 hour' RETURNING id"
)

log = get_logger("workers")


def forget_in_archives(session: Session, settings: Settings) -> int:
    """Rewrite the archives without those who are being erased; how many people that were."""
    waiting = session.execute(WAITING, {"erasing": ERASING}).all()
    if not waiting or not session.scalar(LOCK):
        return 0
    names = [row.external_id.removeprefix(ERASING).partition(" ")[2] for row in waiting]

    def change(line: dict[str, Any]) -> dict[str, Any] | None:
        after: dict[str, Any] | None = line
        for name in names:
            after = after and forget_in_archive(after, name)
        return after

    directory = settings.notification_archive_dir
    for archive in list_archives(directory) if directory else []:
        if rewrite_archive(archive, change):
            log.info("archive_rewritten", archive=archive.name, people=len(names))
    session.execute(FORGOTTEN, {"ids": [row.id for row in waiting], "erased": ERASED, "erasing": ERASING})
    return len(waiting)


def delete_erased(session: Session) -> int:
    """Delete the rows without a name once every gateway has had an hour to close their connections."""
    return len(session.execute(DELETE, {"erased": ERASED}).all())
