"""
POST batch: a list of inputs, the list of their outputs.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnableLambda

from runnables import PublicError, config_hash
from tests.conftest import Site
from tests.fakes import SECRET, Counter, Spy, Waiting, add_one, echo, failing, returning
from tests.runnables.asgi import hang_up

OPEN = {"config_keys": ["configurable", "tags", "metadata", "run_id", "max_concurrency"]}
EMPTY = {"output": [], "metadata": {"responses": [], "run_ids": []}}


def odd_ones_fail(x: int) -> int:
    if x == 3:
        raise PublicError("Not three.", status=418)
    if x % 2:
        raise RuntimeError(SECRET)
    return x


def test_reply_has_an_output_and_a_run_for_each_input(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one))
    response = site.post("/it/batch", {"inputs": [1, 2]})
    body = response.json()
    run_ids = body["metadata"]["run_ids"]
    assert set(body) == {"output", "metadata"}
    assert body["output"] == [2, 3]
    assert len({UUID(run_id) for run_id in run_ids}) == 2
    assert body["metadata"]["responses"] == [
        {"run_id": run_id, "feedback_tokens": []} for run_id in run_ids
    ]
    assert response.headers["X-Run-Id"] == run_ids[0]


@pytest.mark.parametrize("config", [{}, [], None])
def test_empty_batch_has_an_empty_reply(site: Site, config: Any) -> None:
    site.serve("it", RunnableLambda(add_one))
    response = site.post("/it/batch", {"inputs": [], "config": config})
    assert (response.status_code, response.json()) == (200, EMPTY)


@pytest.mark.parametrize("kwargs", [{}, [], [{}, {}], None, "x", 3])
def test_kwargs_may_be_anything(site: Site, kwargs: Any) -> None:
    site.serve("it", RunnableLambda(add_one))
    assert site.post("/it/batch", {"inputs": [1], "kwargs": kwargs}).json()["output"] == [2]


@pytest.mark.parametrize("inputs", ["abc", {"a": 1}, 3, None, True])
def test_inputs_must_be_a_list(site: Site, inputs: Any) -> None:
    site.serve("it", echo())
    response = site.post("/it/batch", {"inputs": inputs})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["inputs"]


def test_inputs_must_be_there(site: Site) -> None:
    site.serve("it", echo())
    response = site.post("/it/batch", {"input": 1})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["inputs"]


def test_bad_item_is_named_and_no_other_runs(site: Site) -> None:
    counter = Counter()
    site.serve("it", PromptTemplate.from_template("{a}") | counter)
    response = site.post("/it/batch", {"inputs": [{"a": "x"}, {"a": 1}]})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["inputs", 1, "a"]
    assert counter.calls == 0


def test_one_config_is_for_every_input(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, **OPEN)
    site.post("/it/batch", {"inputs": [1, 2], "config": {"tags": ["t"], "metadata": {"m": 1}}})
    assert [config["tags"] for config in spy.configs] == [["t"], ["t"]]
    assert [config["metadata"]["m"] for config in spy.configs] == [1, 1]


def test_listed_configs_are_one_for_each_input(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, **OPEN)
    configs = [{"metadata": {"m": 1}}, {"metadata": {"m": 2}}]
    site.post("/it/batch", {"inputs": [1, 2], "config": configs})
    seen = dict(zip(spy.inputs, spy.configs, strict=True))
    assert {x: config["metadata"]["m"] for x, config in seen.items()} == {1: 1, 2: 2}


@pytest.mark.parametrize("config", [[{}], [{}, {}, {}], []])
def test_wrong_number_of_configs_is_refused_in_words(site: Site, config: Any) -> None:
    site.serve("it", echo())
    response = site.post("/it/batch", {"inputs": [1, 2], "config": config})
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)
    assert f"{len(config)} configs" in response.json()["message"]


@pytest.mark.parametrize("config", ["x", 3, ["x", {}], [3, 4], True])
def test_config_of_a_wrong_kind_is_refused(site: Site, config: Any) -> None:
    site.serve("it", echo())
    assert site.post("/it/batch", {"inputs": [1, 2], "config": config}).status_code == 422


def test_config_of_a_wrong_kind_is_refused_in_words(site: Site) -> None:
    site.serve("it", echo())
    response = site.post("/it/batch", {"inputs": [1], "config": "x"})
    assert isinstance(response.json()["detail"], str)


def test_null_configs_in_a_list_are_empty_ones(site: Site) -> None:
    site.serve("it", echo())
    assert site.post("/it/batch", {"inputs": [1], "config": [None]}).json()["output"] == [1]


def test_run_id_of_a_shared_config_is_for_the_first_run_alone(site: Site) -> None:
    run_id = str(uuid4())
    site.serve("it", echo(), **OPEN)
    body = site.post("/it/batch", {"inputs": [1, 2, 3], "config": {"run_id": run_id}}).json()
    first, *others = body["metadata"]["run_ids"]
    assert first == run_id
    assert len({run_id, *others}) == 3


def test_run_id_of_the_header_is_for_the_first_run_alone(site: Site) -> None:
    run_id = str(uuid4())
    site.serve("it", echo())
    response = site.post("/it/batch", {"inputs": [1, 2]}, headers={"X-Run-Id": run_id})
    assert response.json()["metadata"]["run_ids"][0] == run_id
    assert response.json()["metadata"]["run_ids"][1] != run_id


def test_run_ids_of_listed_configs_are_kept(site: Site) -> None:
    run_ids = [str(uuid4()), str(uuid4())]
    site.serve("it", echo(), **OPEN)
    config = [{"run_id": run_id} for run_id in run_ids]
    body = site.post("/it/batch", {"inputs": [1, 2], "config": config}).json()
    assert body["metadata"]["run_ids"] == run_ids


def test_run_id_given_twice_is_refused(site: Site) -> None:
    site.serve("it", echo(), **OPEN)
    config = [{"run_id": str(uuid4())}] * 2
    response = site.post("/it/batch", {"inputs": [1, 2], "config": config})
    assert response.status_code == 422


def test_batch_over_the_limit_is_refused(site: Site) -> None:
    counter = Counter()
    site.serve("it", counter, max_batch_size=2)
    response = site.post("/it/batch", {"inputs": [1, 2, 3]})
    assert response.status_code == 422
    assert response.json()["code"] == "batch_too_large"
    assert "2" in response.json()["message"]
    assert counter.calls == 0


def test_limit_is_a_hundred_unless_set(site: Site) -> None:
    site.serve("it", echo())
    assert site.post("/it/batch", {"inputs": [1] * 100}).status_code == 200
    assert site.post("/it/batch", {"inputs": [1] * 101}).status_code == 422


@pytest.mark.parametrize(
    ("asked", "most"), [({}, 3), ({"max_concurrency": 2}, 2), ({"max_concurrency": 50}, 3)]
)
def test_no_more_run_at_a_time_than_the_deployment_allows(
    site: Site, asked: dict[str, Any], most: int
) -> None:
    counter = Counter()
    site.serve("it", counter, batch_concurrency=3, **OPEN)
    site.post("/it/batch", {"inputs": list(range(10)), "config": asked})
    assert (counter.calls, counter.most) == (10, most)


def test_one_failure_fails_the_batch(site: Site) -> None:
    site.serve("it", RunnableLambda(odd_ones_fail))
    response = site.post("/it/batch", {"inputs": [2, 1]})
    assert response.status_code == 500
    assert response.json()["run_id"]
    assert SECRET not in response.text


def test_public_error_of_one_run_is_shown(site: Site) -> None:
    site.serve("it", RunnableLambda(odd_ones_fail))
    response = site.post("/it/batch", {"inputs": [2, 3]})
    assert (response.status_code, response.json()["message"]) == (418, "Not three.")


def test_partial_results_are_given_to_who_asks_for_them(site: Site) -> None:
    site.serve("it", RunnableLambda(odd_ones_fail))
    response = site.post("/it/batch", {"inputs": [2, 3, 1], "return_exceptions": True})
    body = response.json()
    none, shown, hidden = body["errors"]
    assert response.status_code == 200
    assert body["output"] == [2, None, None]
    assert none is None
    assert (shown["status_code"], shown["message"]) == (418, "Not three.")
    assert hidden["status_code"] == 500
    assert [shown["run_id"], hidden["run_id"]] == body["metadata"]["run_ids"][1:]
    assert SECRET not in response.text


def test_outputs_that_are_lists_stay_lists(site: Site) -> None:
    site.serve("it", returning([1, [2]]))
    assert site.post("/it/batch", {"inputs": [1, 1]}).json()["output"] == [[1, [2]]] * 2


def test_output_that_json_cannot_carry_fails_the_batch(site: Site) -> None:
    site.serve("it", returning(object()))
    response = site.post("/it/batch", {"inputs": [1]})
    assert response.status_code == 500
    assert response.json()["code"] == "output_not_serializable"


def test_partial_results_survive_an_output_that_json_cannot_carry(site: Site) -> None:
    def second_is_odd(x: int) -> Any:
        return object() if x == 2 else x

    site.serve("it", RunnableLambda(second_is_odd))
    response = site.post("/it/batch", {"inputs": [1, 2], "return_exceptions": True})
    assert response.status_code == 200
    assert response.json()["output"] == [1, None]
    assert response.json()["errors"][1]["code"] == "output_not_serializable"


def test_server_says_that_it_was_a_batch(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy)
    site.post("/it/batch", {"inputs": [1]})
    assert spy.last_config["metadata"]["__langserve_endpoint"] == "batch"


def test_batch_with_a_config_hash_merges_it_into_each_config(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, **OPEN)
    hashed = config_hash.encode({"tags": ["h"]})
    config = [{"tags": ["a"]}, {"tags": ["b"]}]
    site.post(f"/it/c/{hashed}/batch", {"inputs": [1, 2], "config": config})
    seen = dict(zip(spy.inputs, spy.configs, strict=True))
    assert {x: c["tags"] for x, c in seen.items()} == {1: ["a", "h"], 2: ["b", "h"]}


def test_batch_of_a_client_that_left_is_cancelled(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting)
    asyncio.run(hang_up(site, "/it/batch", {"inputs": [1]}, when=waiting.begun))
    assert waiting.ended


def test_batch_over_its_time_is_stopped(site: Site) -> None:
    site.serve("it", Waiting(), timeout=0.01)
    assert site.post("/it/batch", {"inputs": [1, 2]}).status_code == 504


def test_failed_run_of_a_batch_does_not_leave_its_id_in_use(site: Site) -> None:
    run_id = str(uuid4())
    site.serve("it", failing())
    headers = {"X-Run-Id": run_id}
    statuses = [
        site.post("/it/batch", {"inputs": [1]}, headers=headers).status_code for _ in range(2)
    ]
    assert statuses == [500, 500]
