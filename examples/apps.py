from django.apps import AppConfig


class ExamplesConfig(AppConfig):
    name = "examples"
    label = "langserve_examples"
    verbose_name = "LangServe examples"
