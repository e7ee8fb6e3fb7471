# Send to specific roles
helper = RoleNotificationHelper()
notifications = helper.notify_stagiaires(
    title="Nouveau sondage disponible",
    message="Un nouveau sondage KPI est disponible",
    notification_type='info'
)
