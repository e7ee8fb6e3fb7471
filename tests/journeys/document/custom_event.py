event = helper.create_stage_event(
    event_type='stage_update',
    stage_id=123,
    event_data={
        'action': 'status_changed',
        'old_status': 'en_cours',
        'new_status': 'termine'
    }
)
