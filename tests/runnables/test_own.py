"""
Views and consumers of one's own: full control in code, the same gate, wire and errors.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from django.urls import include, path
from langchain_core.runnables import RunnableConfig, RunnableLambda

from runnables import PublicError, access
from runnables.asgi import get_asgi_application
from runnables.consumers import StreamConsumer
from runnables.identity import CallerRequest
from runnables.registry import BadOption
from runnables.views import BatchView, InputSchemaView, InvokeView
from tests.conftest import Site, events
from tests.fakes import echo, failing

DOCUMENTS = {"alice": ["alice's plan"], "bob": ["bob's diary"]}


def search(query: str, config: RunnableConfig) -> list[str]:
    """
    Documents of whoever asks that hold the query.
    """
    owner = config["configurable"]["owner"]
    return [text for text in DOCUMENTS.get(owner, []) if query in text]


class OnlyMine:
    """
    What the three doors below share: signed-in callers see their own documents.
    """

    runnable = RunnableLambda(search)
    deployment_options: ClassVar = {"access": "authenticated"}

    async def modify_config(self, config: RunnableConfig, request: CallerRequest) -> RunnableConfig:
        owner = request.user.get_username()
        return {**config, "configurable": {**config.get("configurable", {}), "owner": owner}}


class InvokeMine(OnlyMine, InvokeView): ...


class BatchMine(OnlyMine, BatchView): ...


class StreamMine(OnlyMine, StreamConsumer): ...


class ByHeader(InvokeView):
    """
    Lets in by a header of its own, as an API behind another gateway may have to.
    """

    runnable = RunnableLambda(search)
    deployment_options: ClassVar = {"access": "public"}

    def modify_config(self, config: RunnableConfig, request: CallerRequest) -> RunnableConfig:
        if request.headers.get("X-Secret") != "open sesame":
            raise PublicError("Say the word.", status=401, code="no_word")
        return {**config, "configurable": {"owner": request.headers["X-Owner"]}}


urlpatterns = [
    path("mine/search/", InvokeMine.as_view()),
    # Where a deployment could be, too.
    path("mine/invoke", InvokeMine.as_view()),
    path("mine/batch", BatchMine.as_view()),
    path("by-header/invoke", ByHeader.as_view()),
    path(
        "inline/invoke",
        InvokeView.as_view(runnable=echo(), deployment_options={"access": "public"}),
    ),
    path(
        "inline/input_schema",
        InputSchemaView.as_view(runnable=echo(), deployment_options={"access": "public"}),
    ),
    path(
        "failing/invoke",
        InvokeView.as_view(runnable=failing(), deployment_options={"access": "public"}),
    ),
    path("", include("runnables.urls")),
]


@pytest.fixture
def own(site: Site, settings: Any) -> Site:
    settings.ROOT_URLCONF = __name__
    inline = StreamConsumer.as_asgi(runnable=echo(), deployment_options={"access": "public"})
    site.application = get_asgi_application(
        routes=[
            path("mine/stream", StreamMine.as_asgi()),
            path("mine/events", StreamMine.as_asgi(endpoint="stream_events")),
            path("inline/stream", inline),
        ]
    )
    return site


@pytest.mark.parametrize("where", ["/mine/search/", "/mine/invoke"])
def test_each_caller_sees_their_own_documents(own: Site, where: str) -> None:
    for name, found in DOCUMENTS.items():
        response = own.post(where, {"input": "'s"}, headers=own.token(own.user(name)))
        assert response.status_code == 200
        assert response.json()["output"] == found
        assert response.headers["X-Run-Id"] == response.json()["metadata"]["run_id"]


def test_the_gate_stands_before_a_view_of_ones_own(own: Site) -> None:
    for where in ("/mine/search/", "/mine/batch", "/mine/stream", "/mine/events"):
        response = own.post(where, {"input": "a", "inputs": ["a"]})
        assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
    without_csrf = own.session(own.user("alice"), csrf=False)
    assert own.post("/mine/search/", {"input": "a"}, headers=without_csrf).status_code == 403


def test_a_batch_of_ones_own_is_modified_too(own: Site) -> None:
    headers = own.token(own.user("bob"))
    response = own.post("/mine/batch", {"inputs": ["diary", "plan"]}, headers=headers)
    assert response.json()["output"] == [["bob's diary"], []]


def test_a_stream_of_ones_own_is_a_stream(own: Site) -> None:
    headers = own.token(own.user("alice"))
    response = own.post("/mine/stream", {"input": "plan"}, headers=headers)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert [name for name, _ in events(response)] == ["metadata", "data", "end"]
    assert events(response)[1][1] == ["alice's plan"]
    kinds = own.post("/mine/events", {"input": "plan"}, headers=headers)
    assert "on_chain_start" in kinds.text


def test_auth_by_a_header_keeps_the_status_it_raises(own: Site) -> None:
    word = {"X-Secret": "open sesame", "X-Owner": "alice"}
    refused = own.post("/by-header/invoke", {"input": "a"}, headers={**word, "X-Secret": "no"})
    assert (refused.status_code, refused.json()["code"]) == (401, "no_word")
    assert own.post("/by-header/invoke", {"input": "a"}, headers=word).json()["output"] == [
        "alice's plan"
    ]


def test_a_runnable_may_be_given_where_the_view_is_made(own: Site) -> None:
    assert own.invoke("/inline", 7) == 7
    assert own.get("/inline/input_schema").status_code == 200
    assert events(own.post("/inline/stream", {"input": 7}))[1] == ("data", 7)


def test_an_attribute_that_is_none_is_refused_when_a_stream_is_made() -> None:
    with pytest.raises(TypeError, match="no attribute 'runable'"):
        StreamConsumer(runable=echo())


def test_errors_are_those_of_the_site(own: Site) -> None:
    failed = own.post("/failing/invoke", {"input": 1})
    assert (failed.status_code, failed.json()["code"]) == (500, "run_failed")
    assert failed.json()["run_id"] == failed.headers["X-Run-Id"]
    assert own.post("/inline/invoke", {}).status_code == 422
    assert own.request("GET", "/inline/invoke").status_code == 405


def test_config_rules_hold_for_views_of_ones_own(own: Site) -> None:
    headers = own.token(own.user("alice"))
    forged = {"input": "a", "config": {"configurable": {"user_id": "1"}}}
    assert own.post("/mine/search/", forged, headers=headers).status_code == 422


def test_a_deployment_at_the_same_path_wins(own: Site) -> None:
    own.serve("mine", echo())
    assert own.invoke("/mine", "deployed") == "deployed"


def test_an_option_that_is_none_is_refused(site: Site) -> None:
    view = InvokeView(runnable=echo(), deployment_options={"acces": "public"})
    with pytest.raises(BadOption, match="unknown option acces"):
        view.find_deployment("")


def test_a_deployment_of_ones_own_is_made_once(site: Site) -> None:
    options = {"access": ["editors"]}
    runnable = echo()
    made = InvokeView(runnable=runnable, deployment_options=options).find_deployment("")
    again = InvokeView(runnable=runnable, deployment_options=options).find_deployment("")
    assert made is again
    assert made.matrix.audience == "groups"


def test_groups_of_ones_own_are_named(site: Site) -> None:
    options = {"access": ["editors"]}
    deployment = InvokeView(runnable=echo(), deployment_options=options).find_deployment("")
    alice = CallerRequest(None, site.user("alice"), None, {7: "editors"})  # type: ignore[arg-type]
    bob = CallerRequest(None, site.user("bob"), None, {8: "readers"})  # type: ignore[arg-type]
    assert "run" in access.permissions(alice, deployment)
    assert "run" not in access.permissions(bob, deployment)
