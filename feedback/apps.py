from django.apps import AppConfig


class FeedbackConfig(AppConfig):
    name = "feedback"
    label = "langserve_feedback"
    verbose_name = "Feedback"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from feedback import forgetting, langsmith, openapi, tokens  # noqa: PLC0415 - needs the apps
        from runnables import hooks  # noqa: PLC0415

        hooks.answer_metadata.append(tokens.feedback_tokens)
        hooks.described.append(openapi.operations)
        hooks.kept.append(forgetting.kept_of_user)
        hooks.forgotten.append(forgetting.forget_user)
        hooks.refreshed.append(langsmith.resume)
        hooks.tidied.append(langsmith.tidy)
        hooks.stopping.append(langsmith.stop)
