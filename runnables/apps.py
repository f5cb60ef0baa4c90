from django.apps import AppConfig, apps


class RunnablesConfig(AppConfig):
    name = "runnables"
    label = "langserve"
    verbose_name = "Deployments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Both need the apps to be loaded; the checks register themselves on import.
        from runnables import checks  # noqa: F401, PLC0415
        from runnables.conf import conf  # noqa: PLC0415
        from runnables.registry import default_registry, modules_of_apps  # noqa: PLC0415

        packages = [config.name for config in apps.get_app_configs()]
        default_registry.discover([*modules_of_apps(packages), *conf.modules])
