# 1. Create event
event = notification_service.create_event(
    event_type='stage_update',
    event_data={'stage_id': 123, 'status': 'en_cours'},
    target_roles=['stagiaire', 'tuteur']
)

# 2. Process event
notifications = notification_service.process_event(event)

# 3. Send real-time notifications
# (automatically handled by process_event)
