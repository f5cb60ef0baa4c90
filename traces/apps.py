from django.apps import AppConfig


class TracesConfig(AppConfig):
    name = "traces"
    label = "langserve_traces"
    verbose_name = "Traces"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from runnables import hooks  # noqa: PLC0415 - needs the apps to be loaded
        from traces import (  # noqa: PLC0415
            metrics,
            openapi,
            otel,
            recorder,
            retention,
            rules,
            runs,
            tracing,
            writer,
        )

        hooks.recorders.append(recorder.recorder_of)
        hooks.known_runs.append(runs.known_run)
        hooks.run_payloads.append(runs.payloads)
        hooks.refreshed.append(rules.refresh)
        hooks.refreshed.append(metrics.forget)
        hooks.refreshed.append(writer.start)
        hooks.described.append(openapi.operations)
        hooks.gauges.append(metrics.gauges)
        hooks.tidied.append(retention.tidy)
        hooks.stopping.extend([writer.stop, otel.stop])
        hooks.admin_sections.append(tracing.section)
        hooks.kept.append(retention.kept_of_user)
        hooks.forgotten.append(retention.forget_user)
