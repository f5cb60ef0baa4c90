from django.apps import AppConfig


class FeedbackConfig(AppConfig):
    name = "feedback"
    label = "langserve_feedback"
    verbose_name = "Feedback"
    default_auto_field = "django.db.models.BigAutoField"
