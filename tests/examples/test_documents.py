from __future__ import annotations

from typing import Any

import httpx
import pytest

from examples.documents import documents_search
from tests.conftest import Site


@pytest.fixture
def documents(site: Site) -> Site:
    site.serve("documents", documents_search(), access="authenticated")
    return site


def found(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [document["page_content"] for document in response.json()["output"]]


def ask(site: Site, user: Any, query: str = "holidays", **config: Any) -> httpx.Response:
    body = {"input": query, "config": {"configurable": config}}
    return site.post("/documents/invoke", body, headers=site.token(user))


def test_each_user_finds_their_own_documents(documents: Site) -> None:
    for name, holidays in (("demo", ["Holidays: the second half of July."]), ("bob", [])):
        assert found(ask(documents, documents.user(name))) == holidays


def test_nobody_finds_what_is_somebody_elses(documents: Site) -> None:
    alice = documents.user("alice")
    assert found(ask(documents, alice, "knots")) == []
    assert ask(documents, alice, "knots", username="bob").status_code == 422


def test_nobody_searches_without_signing_in(documents: Site) -> None:
    assert documents.post("/documents/invoke", {"input": "holidays"}).status_code == 401
