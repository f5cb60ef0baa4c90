"""
A session engine (`SESSION_ENGINE = "runnables.sessions"`) whose rows name their user.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from runnables.models import Session


class SessionStore(DatabaseStore):
    @classmethod
    def get_model_class(cls) -> Any:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        row: Any = super().create_model_instance(data)
        row.user_id = data.get(SESSION_KEY)
        return row

    async def acreate_model_instance(self, data: dict[str, Any]) -> Any:
        row: Any = await super().acreate_model_instance(data)
        row.user_id = data.get(SESSION_KEY)
        return row
