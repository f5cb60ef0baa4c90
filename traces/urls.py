from typing import Any

app_name = "langserve_traces"

urlpatterns: list[Any] = []
