"""Watches over Django models: what a save means is written down beside it, in its transaction."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

from django.db import connections, router
from django.db import transaction as django_transaction
from django.db.models.signals import post_delete, post_save, pre_save

from producer.integrations.django.outbox import forget, write
from producer.integrations.django.registry import row_name, watch_of, watches
from producer.integrations.watch import Watch
from shared.errors import InvalidInput

BEFORE = "_notification_before"  # on an instance between pre_save and post_save
RECEIVER = "notification_service"  # Django keeps one receiver of this name for a signal and sender


def watch(model: Any, what: Watch) -> None:
    """Watch a model and its subclasses; again replaces. Raises: InvalidInput for fields that it has not."""
    for name in what.changed:
        _attribute(model, name)
    watches[model] = what
    pre_save.connect(_before_save, dispatch_uid=RECEIVER)
    post_save.connect(_after_save, dispatch_uid=RECEIVER)
    for kind in _with_subclasses(model):
        # Only of these: a receiver for every model would take Django's fast deletes from all of them.
        post_delete.connect(_after_delete, sender=kind, dispatch_uid=RECEIVER)
    _save_in_a_transaction(model)


def unwatch(model: Any) -> None:
    """Watch a model no longer."""
    watches.pop(model, None)


def _with_subclasses(model: Any) -> list[Any]:
    return [model, *(kind for subclass in model.__subclasses__() for kind in _with_subclasses(subclass))]


def _attribute(model: Any, name: str) -> str:
    """The attribute that holds a field's value: of a foreign key, the id."""
    fields = {name: field.attname for field in model._meta.concrete_fields for name in (field.name, field.attname)}
    if name not in fields:
        raise InvalidInput.field("changed", name, f"a field of {model.__name__}: {', '.join(sorted(fields))}")
    return str(fields[name])


def _save_in_a_transaction(model: Any) -> None:
    """Make a save outside of any transaction one of its own: Django would commit the row before post_save.

    Within a transaction nothing changes. Replaces `save_base`, as FieldTracker of django-model-utils does.
    """
    original = model.save_base
    if hasattr(original, RECEIVER):
        return

    @wraps(original)
    def save_base(
        self: Any,
        raw: bool = False,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> None:
        using = using or router.db_for_write(type(self), instance=self)
        with _own_transaction(type(self), using):
            original(self, raw, force_insert, force_update, using, update_fields)

    setattr(save_base, RECEIVER, True)
    model.save_base = save_base


def _own_transaction(model: Any, using: str) -> AbstractContextManager[Any]:
    is_needed = watch_of(model) is not None and not connections[using].in_atomic_block
    return django_transaction.atomic(using=using) if is_needed else nullcontext()


def _before_save(sender: Any, instance: Any, raw: bool, using: str, **_: object) -> None:
    what = watch_of(sender)
    if what is not None and what.changed and not raw:
        setattr(instance, BEFORE, _values(sender, instance, what.changed, using))


def _after_save(sender: Any, instance: Any, created: bool, raw: bool, using: str, **_: object) -> None:
    what = watch_of(sender)
    if what is None or raw:
        return
    changes = None
    before = instance.__dict__.pop(BEFORE, {})
    if not created:
        after = _values(sender, instance, what.changed, using) if what.changed else {}
        changes = {name: (before.get(name), new) for name, new in after.items() if before.get(name) != new}
    drafts = what.drafts(instance, changes)
    if drafts or what.follows:
        write(using, drafts, sender._meta.label, row_name(sender, instance.pk))


def _after_delete(sender: Any, instance: Any, using: str, **_: object) -> None:
    """What is deleted in the transaction that saved it never was."""
    if watch_of(sender) is not None:
        forget(using, sender._meta.label, row_name(sender, instance.pk))


def _values(model: Any, instance: Any, names: Iterable[str], using: str) -> dict[str, Any]:
    """What the database holds: an instance may be loaded in part, made by hand or hold an expression."""
    attributes = {name: _attribute(model, name) for name in names}
    row = model._base_manager.using(using).filter(pk=instance.pk).values(*attributes.values()).first() or {}
    return {name: row.get(attribute) for name, attribute in attributes.items()}
