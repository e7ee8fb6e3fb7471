"""Events out of an application's own Django models, recorded when its transaction has committed.

    INSTALLED_APPS = [..., "producer.integrations.django"]        # settings.py

    from producer.integrations.django import Watch, watch         # ready() of the application

    watch(Stage, Watch(inserted=lambda stage: happened("stage_update", "created", {"stage_id": stage.id})))

From then on every `save()` and `create()` is seen, those of forms, the admin and serializers too. What
happened is worked out at the save, and recorded by `transaction.on_commit` in a transaction of our
own: Django may use any database, SQLite included, and ours stays another.

So a rollback, of a savepoint too, records nothing; a committed change is recorded at once, unless the
process dies or our database is away in the moment between. What is refused then (an unknown group, a
missing text) is logged by `notification_service`, and the committed request goes on. Who needs both in
one transaction records through `NotificationService(session)` on a shared PostgreSQL.

Not seen, because Django sends no signal: `QuerySet.update()`, `bulk_create`, `bulk_update`, raw SQL and
fixtures. Say what they did with a function of `producer.notify`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, cast

from django.db import transaction as django_transaction
from django.db.models.signals import post_save, pre_save
from django.utils.functional import SimpleLazyObject
from sqlalchemy.exc import SQLAlchemyError

from producer.integrations.watch import Seen, Watch, record_seen
from producer.service import NotificationService
from shared.database import transaction
from shared.doorbell import ring
from shared.errors import InvalidInput, NotificationError
from shared.logs import get_logger
from shared.settings import get_settings

__all__ = ["Watch", "notification_service", "unwatch", "watch"]

BEFORE = "_notification_before"  # on an instance between pre_save and post_save

log = get_logger("django")

# The name of the specification's examples. Each call is a transaction of its own, beside Django's.
notification_service = cast(NotificationService, SimpleLazyObject(NotificationService))

_watches: dict[type, Watch] = {}


def watch(model: Any, what: Watch) -> None:
    """Watch a model and its subclasses; again replaces. Raises: InvalidInput for fields that it has not."""
    for name in what.changed:
        _attribute(model, name)
    _watches[model] = what
    pre_save.connect(_before_save, dispatch_uid="notification_service")
    post_save.connect(_after_save, dispatch_uid="notification_service")


def unwatch(model: Any) -> None:
    """Watch a model no longer."""
    _watches.pop(model, None)


def _attribute(model: Any, name: str) -> str:
    """The attribute that holds a field's value: of a foreign key, the id."""
    fields = {name: field.attname for field in model._meta.concrete_fields for name in (field.name, field.attname)}
    if name not in fields:
        raise InvalidInput.field("changed", name, f"a field of {model.__name__}: {', '.join(sorted(fields))}")
    return str(fields[name])


def _before_save(sender: Any, instance: Any, raw: bool, using: str, **_: object) -> None:
    what = _watch_of(sender)
    if what is not None and what.changed and not raw:
        setattr(instance, BEFORE, _values(sender, instance, what.changed, using))


def _after_save(sender: Any, instance: Any, created: bool, raw: bool, using: str, **_: object) -> None:
    what = _watch_of(sender)
    if what is None or raw:
        return
    changes = None
    before = instance.__dict__.pop(BEFORE, {})
    if not created:
        after = _values(sender, instance, what.changed, using) if what.changed else {}
        changes = {name: (before.get(name), new) for name, new in after.items() if before.get(name) != new}
    seen = Seen(what, instance, what.drafts(instance, changes))
    if seen.drafts or what.follows:
        django_transaction.on_commit(partial(_record, seen), using=using)


def _watch_of(sender: Any) -> Watch | None:
    return next((_watches[kind] for kind in sender.__mro__ if kind in _watches), None)


def _values(model: Any, instance: Any, names: Iterable[str], using: str) -> dict[str, Any]:
    """What the database holds: an instance may be loaded in part, made by hand or hold an expression."""
    attributes = {name: _attribute(model, name) for name in names}
    row = model._base_manager.using(using).filter(pk=instance.pk).values(*attributes.values()).first() or {}
    return {name: row.get(attribute) for name, attribute in attributes.items()}


def _record(seen: Seen) -> None:
    if seen.row.pk is None:  # deleted in the transaction that saved it
        return
    settings = get_settings()
    try:
        with transaction(settings) as session:
            rings = record_seen(session, [seen], settings)
    except (NotificationError, SQLAlchemyError) as error:
        # The application's change is committed: too late to refuse it.
        cause = error.message if isinstance(error, NotificationError) else type(error).__name__
        log.error("event_not_recorded", model=type(seen.row).__name__, pk=str(seen.row.pk), error=cause)
        return
    for task in rings:
        ring(task, settings)
