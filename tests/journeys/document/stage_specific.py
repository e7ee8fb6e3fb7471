helper = RoleNotificationHelper()
notifications = helper.notify_stage_participants(
    stage_id=123,
    title="Document approuvé",
    message="Votre document a été approuvé",
    notification_type='success'
)
