"""
The doors of feedback in the OpenAPI document.
"""

from __future__ import annotations

from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.conftest import Site
from tests.fakes import echo

RUN_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def _paths(site: Site, **options: Any) -> dict[str, Any]:
    site.serve("it", echo(), **options)
    content = site.get("/openapi.json").json()
    assert list(OpenAPIV31SpecValidator(content).iter_errors()) == []
    found: dict[str, Any] = content["paths"]
    return found


def test_doors_that_are_switched_on_are_described(site: Site) -> None:
    paths = _paths(
        site,
        enable_feedback_endpoint=True,
        enable_public_trace_link_endpoint=True,
        token_feedback_config={"key_configs": [{"key": "correctness"}]},
    )
    assert set(paths["/it/feedback"]) == {"post", "get"}
    assert set(paths["/it/token_feedback"]) == {"post"}
    assert set(paths["/it/public_trace_link"]) == {"put"}
    said = site.post("/it/feedback", {"run_id": RUN_ID, "key": "k", "score": 1})
    assert str(said.status_code) in paths["/it/feedback"]["post"]["responses"]
    described = paths["/it/feedback"]["post"]["responses"]["200"]["content"]["application/json"]
    assert set(said.json()) <= set(described["schema"]["properties"])


def test_doors_that_are_off_are_not(site: Site) -> None:
    paths = _paths(site)
    assert not [path for path in paths if "feedback" in path or "trace_link" in path]
