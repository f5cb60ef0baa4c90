from typing import Any

app_name = "langserve_feedback"

urlpatterns: list[Any] = []
