helper = RoleNotificationHelper()
notifications = helper.notify_management_team(
    title="Rapport mensuel",
    message="Le rapport mensuel des stages est disponible",
    notification_type='info'
)
