"""
The admin, seen by its cast: root may do everything, the others what their permissions say.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from runnables import histogram
from runnables.models import Deployment, Figures
from tests.admin.forms import Fields, fields_of
from tests.conftest import Site

LIST = "/admin/langserve/deployment/"
MARKUP = "<script>alert(1)</script>"
# Tags between whose texts people see a gap.
BLOCK = re.compile(r"<(/?(?:td|th|li|dt|dd|div|p|br|span|h[1-6])\b)")


@pytest.fixture
def root(site: Site) -> Client:
    client = Client()
    client.force_login(site.user("root", is_staff=True, is_superuser=True))
    return client


def staff(site: Site, *codenames: str, name: str = "sam") -> Client:
    """
    Somebody of the staff with these permissions and no others.
    """
    user = site.user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def change_url(row: Any) -> str:
    return reverse(f"admin:langserve_{row._meta.model_name}_change", args=[row.pk])


def form_of(client: Client, row: Deployment) -> Fields:
    page = client.get(change_url(row)).content.decode()
    return fields_of(page, "deployment_form")


def save(client: Client, row: Deployment, *, untick: Any = (), **values: Any) -> Any:
    """
    Open the page, change these fields and save; colons in names are written as `__`.
    """
    data = form_of(client, row)
    return client.post(change_url(row), changed(data, untick=untick, **values))


def changed(data: Fields, *, untick: Any = (), **values: Any) -> Fields:
    names = {name.replace("__", ":"): value for name, value in values.items()}
    lists = {name: value if isinstance(value, list) else [value] for name, value in names.items()}
    return {name: value for name, value in {**data, **lists}.items() if name not in untick}


def act(client: Client, action: str, *rows: Deployment, **form: Any) -> Any:
    """
    Choose rows and an action; with a form, or `confirmed`, confirm it as well.
    """
    data = {"action": action, "_selected_action": [row.pk for row in rows], **form}
    if form:
        data["confirmed"] = "yes"
    return client.post(LIST, data, follow=True)


def seen(response: Any) -> str:
    """
    The text of a page, with its blanks made one.
    """
    text = response.content.decode()
    body = BLOCK.sub(r" <\1", text[text.index("<body") :])
    return " ".join(unescape(strip_tags(body)).split())


def count_calls(
    row: Deployment, number: int, *, failed: int = 0, endpoint: str = "invoke", ms: float = 100
) -> None:
    """
    Have the deployment be called so often within this hour.
    """
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    assert row.version is not None
    durations = [0] * histogram.BUCKETS
    durations[histogram.bucket(ms)] = number
    Figures.objects.create(
        deployment=row,
        version=row.version,
        endpoint=endpoint,
        hour=hour,
        requests=number,
        failed=failed,
        durations=durations,
        first_chunks=[0] * histogram.BUCKETS,
    )
