# Notify about new stage creation
notify_new_stage_created(stage_id=123, source_user=admin_user)

# Notify about document upload
notify_document_uploaded(stage_id=123, document_title="Rapport PFE", source_user=stagiaire_user)

# Notify about survey availability
notify_survey_available(survey_id=456, survey_title="Satisfaction Stage", source_user=rh_user)

# Notify about KPI alerts
notify_kpi_alert(stage_id=123, alert_message="KPI en dessous du seuil", alert_level='warning')

# Notify about testimonial submission
notify_testimonial_submitted(stage_id=123, testimonial_title="Témoignage Stage", source_user=stagiaire_user)

# Notify about evaluation completion
notify_evaluation_completed(stage_id=123, evaluator_id=789, evaluated_id=456, evaluation_type='mid_stage')
