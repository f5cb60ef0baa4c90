from typing import Any

from traces.pages import urls as pages

app_name = "langserve_traces"

urlpatterns: list[Any] = [*pages.urlpatterns]
