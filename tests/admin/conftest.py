from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from tests.conftest import Site


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """
    Django's own hasher takes a third of a second per user.
    """
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def root(site: Site) -> Client:
    client = Client()
    client.force_login(site.user("root", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def viewer(site: Site) -> Client:
    """
    Staff who may look at deployments and change nothing.
    """
    return staff(site, "viewer", "view_deployment")


def staff(site: Site, name: str, *permissions: str) -> Client:
    user = site.user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client
