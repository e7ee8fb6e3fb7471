"""What other services call: say what happened, and who is who.

    from producer import NotificationService, role, group

    NotificationService().send_role_notifications(["rh"], "Rapport", "Le rapport est disponible")

Every call is checked whole before anything is written. Given the caller's SQLAlchemy session, an event
is part of their transaction: rolled back, it never was.
"""

from producer.audience import everyone, group, role, user
from producer.directory import Directory, Person
from producer.sent import SentEvent, SentNotification
from producer.service import NotificationService
from shared.audience import Audience, Term

__all__ = [
    "Audience",
    "Directory",
    "NotificationService",
    "Person",
    "SentEvent",
    "SentNotification",
    "Term",
    "everyone",
    "group",
    "role",
    "user",
]
