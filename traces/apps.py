from django.apps import AppConfig


class TracesConfig(AppConfig):
    name = "traces"
    label = "langserve_traces"
    verbose_name = "Traces"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from runnables import hooks  # noqa: PLC0415 - needs the apps to be loaded
        from traces import recorder, retention, rules, runs, writer  # noqa: PLC0415

        hooks.recorders.append(recorder.recorder_of)
        hooks.known_runs.append(runs.known_run)
        hooks.run_payloads.append(runs.payloads)
        hooks.refreshed.append(rules.refresh)
        hooks.tidied.append(retention.tidy)
        hooks.stopping.append(writer.stop)
        hooks.forgotten.append(retention.forget_user)
