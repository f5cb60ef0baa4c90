"""
A site in this process: `site.serve(...)` deploys a runnable, `site.post(...)` calls it
through the same ASGI application that uvicorn runs.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.cache import cache as django_cache
from django.core.management.commands import flush
from django.test import Client
from knox.settings import knox_settings

from runnables import database, deployments, figures, snapshot, watcher
from runnables.asgi import get_asgi_application
from runnables.models import ApiToken, Deployment, DeploymentVersion, Grant
from runnables.permissions import OF_CALLERS
from runnables.registry import default_registry
from traces import queue, writer
from traces.models import Trace

# The test database lies there: a file, since live servers share it.
(Path(__file__).resolve().parent.parent / "build").mkdir(exist_ok=True)


class Site:
    """
    What a test needs of the site. Tests are plain functions: each call runs its own loop.
    """

    def __init__(self) -> None:
        self.application = get_asgi_application()

    def serve(
        self, name: str, runnable: Any, *, access: Any = "public", **options: Any
    ) -> Deployment:
        default_registry.register(name, runnable, access=access, **options)
        deployments.sync(default_registry)
        snapshot.refresh()
        return Deployment.objects.get(name=name)

    def row(self, name: str) -> Deployment:
        return Deployment.objects.select_related("version").get(name=name)

    def change(self, name: str, **values: Any) -> None:
        """
        Change a deployment as staff would: switches, limits, `access`, and what makes a version.
        """
        row = self.row(name)
        content = {key: values.pop(key) for key in DeploymentVersion.CONTENT if key in values}
        if content and row.version:
            DeploymentVersion.objects.filter(pk=row.version.pk).update(**content)
        if "access" in values:
            self.grant(name, values.pop("access"))
        if values:
            Deployment.objects.filter(pk=row.pk).update(**values)
        deployments.announce_change()

    def grant(self, name: str, *audiences: Any, may: Iterable[str] = OF_CALLERS) -> None:
        """
        These audiences and nobody else: a word, a Group or a user.
        """
        row = Deployment.objects.get(name=name)
        row.grants.all().delete()
        for audience in audiences:
            whom: dict[str, Any] = {"audience": audience}
            if isinstance(audience, Group):
                whom = {"audience": "group", "group": audience}
            elif not isinstance(audience, str):
                whom = {"audience": "user", "user": audience}
            Grant.objects.create(deployment=row, **whom, **dict.fromkeys(may, True))
        deployments.announce_change()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options["json"] = body
        return self.request("POST", path, **options)

    def invoke(self, path: str, value: Any, **options: Any) -> Any:
        response = self.post(f"{path}/invoke", {"input": value}, **options)
        assert response.status_code == 200, response.text
        return response.json()["output"]

    def user(self, name: str, **fields: Any) -> Any:
        return get_user_model().objects.create_user(name, password="a password for tests", **fields)

    def token(self, user: Any, **fields: Any) -> dict[str, str]:
        """
        Headers of a request by this user.
        """
        _, token = ApiToken.objects.create(user, **fields)
        return {"Authorization": f"{knox_settings.AUTH_HEADER_PREFIX} {token}"}

    def session(self, user: Any, *, csrf: bool = True) -> dict[str, str]:
        """
        Headers of a request from this user's browser, with or without the CSRF header.
        """
        client = Client()
        client.force_login(user)
        client.get("/admin/login/")
        cookies = {name: morsel.value for name, morsel in client.cookies.items()}
        cookies.setdefault("csrftoken", "0123456789abcdef0123456789abcdef")
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        return {**headers, "X-CSRFToken": cookies["csrftoken"]} if csrf else headers

    def traces(self) -> list[Trace]:
        """
        What was recorded, written now; newest first.
        """
        writer.write()
        return list(Trace.objects.order_by("-started_at"))

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.application, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **options)


# What a migrated database holds, and every test needs as it is.
KEPT_TABLES = {"auth_permission", "django_content_type"}


@pytest.fixture(autouse=True, scope="session")
def quick_tests() -> Iterator[None]:
    """
    Emptying the database after a test takes Django longer than most tests: it looks for the
    tables anew and makes all permissions again. Here what a test has filled is emptied.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush, "sql_flush", _flushing)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_, **__: None)
        # Once per server process; once per test, nothing would ever be collected.
        patch.setattr(gc, "freeze", lambda: None)
        yield


def _flushing(style: Any, connection: Any, *_: Any, **__: Any) -> list[str]:
    quote = connection.ops.quote_name
    tables = [name for name in _tables() if name not in KEPT_TABLES]
    with connection.cursor() as cursor:
        parts = [f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {quote(name)})" for name in tables]
        cursor.execute(" UNION ALL ".join(parts))
        filled = [name for (name,) in cursor.fetchall()]
    found: list[str] = connection.ops.sql_flush(
        # PostgreSQL empties no table that another refers to, however empty that one is.
        style,
        filled,
        allow_cascade=connection.vendor == "postgresql",
    )
    return found


@cache
def _tables() -> list[str]:
    tables = (model._meta.db_table for model in apps.get_models(include_auto_created=True))
    return sorted(set(tables))


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """
    Django's own hasher takes a third of a second per user.
    """
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def site(transactional_db: None, settings: Any) -> Iterator[Site]:
    # The thread that follows other processes would read tables while they are emptied.
    # Nor may a busy host turn a failure at once into a stream that has begun.
    settings.LANGSERVE = {
        **settings.LANGSERVE,
        "POLL_SECONDS": 0,
        "FIRST_CHUNK_SECONDS": 0.5,
        "TRACE_SECONDS": 0,
    }
    registered = list(default_registry)
    default_registry.clear()
    snapshot.forget()
    yield Site()
    watcher.stop()
    database.close()
    figures.forget()
    writer.stop()
    queue.clear()
    django_cache.clear()
    snapshot.forget()
    default_registry.clear()
    for registration in registered:
        default_registry._by_name[registration.name] = registration


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    """
    The events of a whole SSE response as (name, data), without comments.
    """
    found = []
    for block in response.text.split("\r\n\r\n"):
        fields = dict(
            line.split(": ", 1) for line in block.split("\r\n") if line and not line.startswith(":")
        )
        if fields:
            found.append(
                (fields["event"], json.loads(fields["data"]) if "data" in fields else None)
            )
    return found
