"""The two test functions of the specification, section "Test Scenarios": as written, imports apart."""

from __future__ import annotations

import pytest

from producer import NotificationService, RoleNotificationHelper
from tests.company import Company
from tests.system import System


@pytest.fixture(autouse=True)
def people(system: System, company: Company) -> None:
    """With nobody to notify, the scenarios would show nothing."""
    company.person("1", "role_stagiaire", "stage_1")
    company.person("2", "role_stagiaire")
    company.person("3", "role_tuteur", "stage_1")
    company.person("4", "role_rh")


# fmt: off
# Test role-based targeting
def test_role_targeting():
    helper = RoleNotificationHelper()
    
    # Test stagiaire notifications
    stagiaire_notifications = helper.notify_stagiaires(
        title="Test Stagiaire",
        message="Test message",
        notification_type='info'
    )
    
    # Verify only stagiaires received notifications
    for notification in stagiaire_notifications:
        assert notification.recipient.role == 'stagiaire'

# Test event processing
def test_event_processing():
    service = NotificationService()
    
    # Create event
    event = service.create_event(
        event_type='stage_update',
        event_data={'stage_id': 1},
        target_roles=['stagiaire', 'tuteur']
    )
    
    # Process event
    notifications = service.process_event(event)
    
    # Verify notifications created
    assert len(notifications) > 0
    assert event.processed == True
# fmt: on


def test_the_first_scenario_has_somebody_to_look_at() -> None:
    sent = RoleNotificationHelper().notify_stagiaires(
        title="Test Stagiaire", message="Test message", notification_type="info"
    )
    assert sorted(notification.recipient.id for notification in sent) == ["1", "2"]
