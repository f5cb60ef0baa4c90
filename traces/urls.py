from typing import Any

from traces import dashboard_urls

app_name = "langserve_traces"

urlpatterns: list[Any] = [*dashboard_urls.urlpatterns]
