"""The tables. PostgreSQL is the truth; everything else is a hint to look here.

A notification is (recipient, event): the text stands once, on the event. `users`, `groups` and
`memberships` say who can be addressed, `event_batches` is the frozen plan of each event.
"""

from shared.models.audit import AuditRecord
from shared.models.base import Base, Installation, Xid8
from shared.models.counts import (
    COUNTED_CHANGES,
    BatchReceipt,
    CountChange,
    Counting,
    DailyCount,
    EventCount,
    HourlyTime,
    SocketTime,
)
from shared.models.deliveries import (
    DELIVERY_STATUSES,
    ENDED_DELIVERIES,
    DailyDelivery,
    Delivery,
    DeliveryChannel,
    DeliveryPlan,
)
from shared.models.events import (
    EVENT_STATUSES,
    FORMATS,
    NOTIFICATION_TYPES,
    PRIORITIES,
    TRIAL,
    EventBatch,
    NotificationEvent,
    NotificationTemplate,
)
from shared.models.notifications import Notification
from shared.models.people import EVERYONE, ROLE, USER, Group, Membership, Service, User
from shared.models.presence import GATEWAY_DEAD_AFTER_SECONDS, Gateway, WebSocketConnection

__all__ = [
    "COUNTED_CHANGES",
    "DELIVERY_STATUSES",
    "ENDED_DELIVERIES",
    "EVENT_STATUSES",
    "EVERYONE",
    "FORMATS",
    "GATEWAY_DEAD_AFTER_SECONDS",
    "NOTIFICATION_TYPES",
    "PRIORITIES",
    "ROLE",
    "TRIAL",
    "USER",
    "AuditRecord",
    "Base",
    "BatchReceipt",
    "CountChange",
    "Counting",
    "DailyCount",
    "DailyDelivery",
    "Delivery",
    "DeliveryChannel",
    "DeliveryPlan",
    "EventBatch",
    "EventCount",
    "Gateway",
    "Group",
    "HourlyTime",
    "Installation",
    "Membership",
    "Notification",
    "NotificationEvent",
    "NotificationTemplate",
    "Service",
    "SocketTime",
    "User",
    "WebSocketConnection",
    "Xid8",
]
