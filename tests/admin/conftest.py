from __future__ import annotations

import pytest
from django.test import Client

from tests.conftest import Site


@pytest.fixture
def root(site: Site) -> Client:
    client = Client()
    client.force_login(site.user("root", is_staff=True, is_superuser=True))
    return client
