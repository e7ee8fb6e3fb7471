"""Events out of an application's own Django models, written down in the transaction of the change.

    INSTALLED_APPS = [..., "notification_service"]                # settings.py; then manage.py migrate

    from producer.integrations.django import Watch, watch         # ready() of the application

    watch(Stage, Watch(inserted=lambda stage: happened("stage_update", "created", {"stage_id": stage.id})))

From then on every `save()` and `create()` is seen, those of forms, the admin and serializers too. What
happened is worked out at the save and written into one small table of the application's own database
(`models.OutboxEntry`), in the same transaction: rolled back, of a savepoint too, it never was; committed,
it can't be lost. Right after the commit it is moved to us (`moving`), once and in order; what a process
that died or a database that was away left behind, the next commit of any process moves, or
`manage.py deliver_notifications`. Django may use SQLite or PostgreSQL, and ours stays another database.

What is refused (an unknown group, a missing text) is kept with its error, logged and shown by that
command; later events don't wait for it, and the committed request goes on.

Not seen, because Django sends no signal: `QuerySet.update()`, `bulk_create`, `bulk_update`, raw SQL and
fixtures. Say what they did with `record(happened(…))`, in the same transaction.
"""

from __future__ import annotations

from typing import cast

from django.utils.functional import SimpleLazyObject

from producer.integrations.django.outbox import record
from producer.integrations.django.watching import unwatch, watch
from producer.integrations.watch import Watch
from producer.service import NotificationService

__all__ = ["Watch", "notification_service", "record", "unwatch", "watch"]

# The name of the specification's examples. Each call is a transaction of its own, beside Django's.
notification_service = cast(NotificationService, SimpleLazyObject(NotificationService))
