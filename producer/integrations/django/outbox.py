"""Writing down what a transaction of the application has to say, and moving it once that has committed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from django.db import DEFAULT_DB_ALIAS, connections
from django.db import transaction as django_transaction

from producer.integrations.django.drafts import encode
from producer.integrations.django.moving import move_after_commit
from shared.events import EventDraft


def record(draft: EventDraft, using: str = DEFAULT_DB_ALIAS) -> None:
    """Record an event once Django's transaction commits, and only then; as durable as its changes are.

    `draft` is what `happened(…)` makes. Raises: InvalidInput for data that JSON can't hold; whatever else is
    refused is refused after the commit: kept, logged, and shown by `manage.py deliver_notifications`.
    """
    write(using, [draft])


def write(using: str, drafts: Sequence[EventDraft], model: str = "", row: str = "") -> None:
    """Write an entry in the transaction of `using`; it is moved right after the commit."""
    from producer.integrations.django.models import OutboxEntry

    events = encode(drafts)
    found = pending(using)
    after_commit = found or AfterCommit(using)
    entry = OutboxEntry(transaction=after_commit.transaction, model=model, row=row, events=events)
    OutboxEntry.objects.using(using).bulk_create([entry])  # sends no signals, unlike create()
    if found is None:
        django_transaction.on_commit(after_commit.move, using=using, robust=True)


def forget(using: str, model: str, row: str) -> None:
    """Take back what the transaction of `using` has to say about a row."""
    from producer.integrations.django.models import OutboxEntry

    found = pending(using)
    if found is not None:
        written = OutboxEntry.objects.using(using).filter(model=model, row=row)
        written.filter(transaction=found.transaction).delete()


class AfterCommit:
    """Moves what a transaction has written. One for each, and its token.

    Django forgets it with the savepoint in which it was made; the entries written until then go as well.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self.transaction = uuid4().hex

    def move(self) -> None:
        """The hook that Django calls."""
        move_after_commit(self.using, self.transaction)


def pending(using: str) -> AfterCommit | None:
    """That of the transaction which is open; None before its first entry."""
    makers = (getattr(hook[1], "__self__", None) for hook in connections[using].run_on_commit)
    return next((maker for maker in makers if isinstance(maker, AfterCommit)), None)
