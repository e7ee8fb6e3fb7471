"""The package `notification_service` of the earlier Django system, for code that imports it.

    from notification_service.role_notifications import RoleNotificationHelper

Its modules stand in the adapter for Django; nothing is imported here. A package of the same name in a
project comes before this one, so the earlier application goes on until its folder is moved away.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parent / "producer" / "integrations" / "django" / "notification_service")]
