"""Events and notifications, as the document names them."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class NotificationEvent(models.Model):
    event_type = models.CharField(max_length=50)
    event_data = models.JSONField(default=dict)
    target_roles = models.JSONField(default=list)
    processed = models.BooleanField(default=True)


class Notification(models.Model):
    recipient = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    event = models.ForeignKey(NotificationEvent, models.SET_NULL, null=True)
    title = models.CharField(max_length=255)
    message = models.TextField()
    notification_type = models.CharField(max_length=20, default="info")
    is_read = models.BooleanField(default=False)
    read_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()


class NotificationTemplate(models.Model):
    name = models.CharField(max_length=100, unique=True)
    title_template = models.CharField(max_length=255)
    message_template = models.TextField()


class WebSocketConnection(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    is_active = models.BooleanField(default=True)
