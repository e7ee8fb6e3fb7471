from notification_service.role_notifications import RoleNotificationHelper

helper = RoleNotificationHelper()
notifications = helper.notify_stagiaires(
    title="Nouvelle offre de stage",
    message="Une nouvelle offre de stage est disponible",
    notification_type='info'
)
