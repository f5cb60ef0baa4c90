from django.apps import AppConfig


class FeedbackConfig(AppConfig):
    name = "feedback"
    label = "langserve_feedback"
    verbose_name = "Feedback"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from feedback import links  # noqa: PLC0415 - needs the apps to be loaded
        from runnables import hooks  # noqa: PLC0415

        hooks.forgotten.append(links.forget_user)
