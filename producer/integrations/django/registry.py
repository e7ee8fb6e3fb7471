"""Which models are watched, and how their rows are named in the outbox."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.apps import apps

from producer.integrations.django.drafts import Encoder
from producer.integrations.watch import Watch

watches: dict[type, Watch] = {}


def watch_of(model: Any) -> Watch | None:
    """The watch over a model, or over what it derives from."""
    return next((watches[kind] for kind in model.__mro__ if kind in watches), None)


def row_name(model: Any, pk: Any) -> str:
    """A row's key as JSON, the same however the application wrote it: 7 and "7" are one row."""
    return json.dumps(model._meta.pk.to_python(pk), cls=Encoder)


def followed_rows(label: str, names: Iterable[str], using: str) -> Iterable[Any]:
    """Rows of a model ("shop.Order"), by their names, that are to be followed and are still there."""
    try:
        model = apps.get_model(label)
    except LookupError:  # no longer part of the application
        return []
    what = watch_of(model)
    if what is None or not what.follows:
        return []
    keys = [json.loads(name) for name in names]
    keys = [tuple(key) if isinstance(key, list) else key for key in keys]
    found: Iterable[Any] = model._base_manager.using(using).filter(pk__in=keys)
    return found
