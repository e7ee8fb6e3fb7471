"""The one table in the application's own database: what it has to say, until it is recorded in ours."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class OutboxEntry(models.Model):
    """What one save says. Written in its transaction, taken away once it is recorded, kept when refused.

    `transaction` is a token of the transaction that wrote it; with the id it makes the idempotency keys.
    `model` and `row` ("shop.Order", its key as JSON) are looked at again when it is moved, for the people
    and groups that the row is; empty for `record`. `events` is a JSON list of drafts.
    """

    id = models.BigAutoField(primary_key=True)
    transaction = models.CharField(max_length=32)
    model = models.CharField(max_length=255, blank=True)
    row = models.CharField(max_length=255, blank=True)
    events = models.TextField(default="[]")
    created_at = models.DateTimeField(default=timezone.now)
    refused_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        app_label = "notification_service"
        db_table = "notification_service_outbox"
        default_permissions = ()
        indexes = (
            models.Index(fields=["id"], condition=models.Q(refused_at=None), name="notification_outbox_waiting"),
            models.Index(fields=["model", "row"], name="notification_outbox_row"),
        )

    def __str__(self) -> str:
        return f"{self.pk} {self.model} {self.row}".strip()
