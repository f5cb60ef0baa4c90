from django.apps import AppConfig


class FeedbackConfig(AppConfig):
    name = "feedback"
    label = "langserve_feedback"
    verbose_name = "Feedback"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from feedback import forgetting  # noqa: PLC0415 - needs the apps to be loaded
        from runnables import hooks  # noqa: PLC0415

        hooks.kept.append(forgetting.kept_of_user)
        hooks.forgotten.append(forgetting.forget_user)
