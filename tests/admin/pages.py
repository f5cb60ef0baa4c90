"""
What a browser does with the pages of versions: read a form, send it, go on to the next.
"""

from __future__ import annotations

from html import unescape
from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from runnables.models import Deployment, DeploymentVersion
from tests.conftest import Site

CONTENT = DeploymentVersion.CONTENT


def staff(site: Site, name: str, *permissions: str) -> Client:
    """
    Somebody of the staff with these permissions and no others.
    """
    user = site.user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def url(row: Deployment, name: str, *further: Any) -> str:
    return reverse(f"admin:langserve_deployment_{name}", args=[row.pk, *further])


def text_of(response: Any) -> str:
    return unescape(response.content.decode())


def form_of(client: Client, row: Deployment, query: str = "") -> dict[str, Any]:
    page = client.get(url(row, "configuration") + query)
    data: dict[str, Any] = {"based_on": page.context["base"].number}
    for bound in page.context["form"]:
        value = bound.value()
        if isinstance(value, bool):
            data |= {bound.html_name: "on"} if value else {}
        elif value is not None:
            data[bound.html_name] = value
    if page.context["is_raw"]:
        data["mode"] = "raw"
    if page.context["draft"]:
        data["draft"] = page.context["draft"].key
    return data


def field(client: Client, row: Deployment, name: str) -> str:
    """
    The name in HTML of a default's field.
    """
    form = client.get(url(row, "configuration")).context["form"]
    found: str = next(one.field_name for one in form.defaults if one.name == name)
    return found


def edit(client: Client, row: Deployment, query: str = "", **values: Any) -> Any:
    """
    Send the configuration form with these defaults changed; the page that comes next.
    """
    data = form_of(client, row, query)
    for name, value in values.items():
        is_field = name in data or "__" in name or name in (*CONTENT, "raw")
        key = name if is_field else field(client, row, name)
        if "__" in name:
            default, part = name.split("__")
            key = f"{field(client, row, default)}-{part}"
        if value is None:
            data.pop(key, None)
        else:
            data[key] = value
    return client.post(url(row, "configuration"), data, follow=True)


def confirm(client: Client, page: Any, **values: Any) -> Any:
    """
    Save what the page of the diff shows.
    """
    draft = page.context["draft"].key
    path = page.request["PATH_INFO"]
    return client.post(path, {"draft": draft, "how": "now", **values}, follow=True)
