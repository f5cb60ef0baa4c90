"""
manage.py langserve: what it prints, what it changes, and its exit codes.
"""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnableLambda

from runnables import PublicError, snapshot
from runnables.management.commands.langserve import Command
from runnables.models import ApiToken, Deployment
from runnables.registry import default_registry
from tests.conftest import Site
from tests.fakes import SECRET, Words, add_one, chunks, echo, failing

User = get_user_model()


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("langserve", *arguments, stdout=out)
    return out.getvalue()


def run_json(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json").splitlines()]


def talk() -> Any:
    return PromptTemplate.from_template("{x}") | Words(reply="one two") | StrOutputParser()


# Usage


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["cats"],
        ["invoke", "/it"],
        ["enable"],
        ["disable", "/it", "--endpoint", "cats"],
        ["token"],
        ["token", "create"],
    ],
)
def test_wrong_usage_is_refused(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run(*arguments)


def test_wrong_usage_at_a_terminal_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        Command().run_from_argv(["manage.py", "langserve", "cats"])
    assert caught.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


# sync and list


def test_sync_says_what_it_made(site: Site) -> None:
    default_registry.register("it", echo(), access="public")
    assert run("sync") == "created it\n"
    assert run("sync") == "nothing to do: 1 registered, all deployed\n"
    assert site.invoke("/it", 1) == 1


def test_sync_in_json(site: Site) -> None:
    default_registry.register("it", echo())
    assert run_json("sync") == [{"created": "it"}]
    assert run_json("sync") == []
    default_registry.clear()
    assert run_json("sync") == [{"orphaned": "it"}]


def test_list_shows_every_row(site: Site) -> None:
    site.serve("one", echo())
    site.serve("two", echo(), path="/a/two", access=["editors", "authors"])
    site.change("one", is_enabled=False)
    lines = run("list").splitlines()
    assert [line.split() for line in lines] == [
        ["/a/two", "two", "on", "groups", "authors,", "editors"],
        ["/one", "one", "off", "public"],
    ]


def test_list_in_json(site: Site) -> None:
    site.serve("it", echo(), enabled_endpoints=["invoke"])
    assert run_json("list") == [
        {"path": "/it", "name": "it", "state": "on", "access": "public", "endpoints": ["invoke"]}
    ]


def test_list_marks_rows_whose_code_is_gone(site: Site) -> None:
    site.serve("it", echo())
    default_registry.clear()
    assert "code gone" in run("list")


def test_empty_list_says_what_to_do(site: Site) -> None:
    assert "langserve sync" in run("list")
    assert run_json("list") == []


# check


def test_check_builds_every_deployment(site: Site) -> None:
    site.serve("one", echo())
    site.serve("two", talk())
    lines = run("check").splitlines()
    assert sorted(line.split(":")[0] for line in lines) == ["ok   /one", "ok   /two"]


def test_check_of_something_that_does_not_build_exits_with_3(site: Site) -> None:
    def broken() -> Any:
        raise RuntimeError("no such index")

    site.serve("broken", broken)
    site.serve("it", echo())
    out = StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("langserve", "check", stdout=out)
    assert caught.value.code == 3
    assert "ok   /it" in out.getvalue()
    assert "FAIL /broken: no such index" in out.getvalue()


def test_check_in_json_says_what_is_wrong(site: Site) -> None:
    def broken() -> Any:
        raise RuntimeError("no such index")

    site.serve("broken", broken)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("langserve", "check", "/broken", "--json", stdout=out)
    expected = {"path": "/broken", "ok": False, "error": "no such index"}
    assert json.loads(out.getvalue()) == expected


def test_check_of_a_row_whose_code_is_gone_says_so_once(site: Site) -> None:
    site.serve("it", echo())
    default_registry.clear()
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("langserve", "check", stdout=out)
    assert out.getvalue().count("not installed on this server") == 1


def test_check_of_one_path_looks_at_no_other(site: Site) -> None:
    site.serve("broken", lambda: 1 / 0)
    site.serve("it", echo())
    assert run("check", "/it").startswith("ok   /it")


def test_live_check_counts_chunks(site: Site) -> None:
    site.serve("talk", talk())
    site.serve("one", RunnableLambda(add_one))
    found = {row["path"]: row for row in run_json("check", "--live")}
    assert found["/talk"]["ok"] is True
    assert found["/talk"]["streams"] is True
    assert found["/talk"]["chunks"] >= 2
    assert (found["/one"]["chunks"], found["/one"]["streams"]) == (1, False)
    assert "does not stream" in run("check", "--live", "/one")


def test_live_check_takes_an_input(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"x": "y"}')
    site.serve("it", talk())
    [row] = run_json("check", "--live", "/it", "--input", f"@{file}")
    assert row["ok"] is True


def test_live_check_of_something_that_fails_exits_with_3(site: Site) -> None:
    site.serve("it", failing(RuntimeError("no key")))
    out = StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("langserve", "check", "--live", stdout=out)
    assert caught.value.code == 3
    assert "FAIL /it" in out.getvalue()
    assert "no key" in out.getvalue()


def test_health_check_of_a_deployment_is_asked(site: Site) -> None:
    asked: list[int] = []
    site.serve("it", echo(), health_check=lambda: asked.append(1))
    run("check", "--live")
    assert asked == [1]


def test_check_of_an_unknown_path_fails(site: Site) -> None:
    with pytest.raises(CommandError, match="nothing is served at /nothing"):
        run("check", "/nothing")


# invoke


@pytest.mark.parametrize("path", ["/it", "it", "/it/"])
def test_invoke_prints_the_output(site: Site, path: str) -> None:
    site.serve("it", RunnableLambda(add_one), access="staff")
    assert run("invoke", path, "--input", "1") == "2\n"


def test_invoke_reads_a_file(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text("[1, 2]")
    site.serve("it", echo())
    assert run("invoke", "/it", "--input", f"@{file}") == "[1,2]\n"


def test_invoke_can_stream(site: Site) -> None:
    site.serve("it", chunks("a", {"b": 1}))
    assert run("invoke", "/it", "--input", "1", "--stream") == '"a"\n{"b":1}\n'


@pytest.mark.parametrize(
    ("path", "given", "reason"),
    [
        ("/nothing", "1", "nothing is served"),
        ("/it", "not json", "--input"),
        ("/it", "@/no/such/file", "--input"),
        ("/it", '"text"', "integer"),
        ("/public", "1", "Come back later."),
    ],
)
@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_invoke_says_what_is_wrong(
    site: Site, path: str, given: str, reason: str, stream: list[str]
) -> None:
    site.serve("it", RunnableLambda(add_one))
    site.serve("public", failing(PublicError("Come back later.")))
    with pytest.raises(CommandError, match=reason):
        run("invoke", path, "--input", given, *stream)


def test_invoke_of_a_runnable_that_fails_is_an_error_and_no_traceback(site: Site) -> None:
    site.serve("it", failing(RuntimeError("no key")))
    with pytest.raises(CommandError, match="no key"):
        run("invoke", "/it", "--input", "1")


def test_invoke_uses_the_encoders_of_the_deployment(site: Site) -> None:
    site.serve("it", RunnableLambda(lambda x: object()), encoders={object: lambda _: "an object"})
    assert run("invoke", "/it", "--input", "1") == '"an object"\n'


# enable and disable


def test_disable_and_enable_a_deployment(site: Site) -> None:
    site.serve("it", echo())
    assert run("disable", "/it") == "/it is off\n"
    assert site.post("/it/invoke", {"input": 1}).status_code == 404
    assert run_json("enable", "/it") == [{"path": "/it", "endpoint": None, "state": "on"}]
    assert site.invoke("/it", 1) == 1


def test_disable_and_enable_an_endpoint(site: Site) -> None:
    site.serve("it", echo())
    assert run("disable", "/it", "--endpoint", "batch") == "batch of /it is off\n"
    assert site.post("/it/batch", {"inputs": []}).status_code == 404
    assert site.invoke("/it", 1) == 1
    run("disable", "/it", "--endpoint", "batch")
    run("enable", "/it", "--endpoint", "batch")
    run("enable", "/it", "--endpoint", "batch")
    assert Deployment.objects.get().endpoints.count("batch") == 1
    assert site.post("/it/batch", {"inputs": []}).status_code == 200


@pytest.mark.parametrize("action", ["enable", "disable"])
@pytest.mark.parametrize("path", ["/nothing", "/a b", "/admin"])
def test_switching_what_is_not_there_fails(site: Site, action: str, path: str) -> None:
    with pytest.raises(CommandError):
        run(action, path)


def test_root_can_be_switched(site: Site) -> None:
    site.serve("it", echo(), path="/")
    assert run("disable", "/") == "/ is off\n"


# Tokens


def test_token_is_shown_once_and_works(site: Site) -> None:
    site.serve("it", echo(), access="authenticated")
    site.user("alice")
    token, hint = run("token", "create", "alice", "--name", "laptop").splitlines()
    assert "only now" in hint
    assert site.invoke("/it", 1, headers={"Authorization": f"Bearer {token}"}) == 1
    assert ApiToken.objects.get().name == "laptop"
    assert token not in str(ApiToken.objects.values().get())


def test_token_in_json_is_one_line(site: Site) -> None:
    site.user("alice")
    [row] = run_json("token", "create", "alice")
    assert set(row) == {"username", "token", "name", "scopes", "expires"}


def test_token_for_nobody_is_refused(site: Site) -> None:
    with pytest.raises(CommandError, match="--create-user"):
        run("token", "create", "alice")
    assert not User.objects.exists()


def test_token_for_a_new_user(site: Site) -> None:
    [row] = run_json("token", "create", "alice", "--create-user")
    user = User.objects.get()
    assert (user.username, user.is_staff, user.is_superuser) == ("alice", False, False)
    assert not user.check_password("")
    assert ApiToken.objects.get().user == user
    run("token", "create", "alice", "--create-user")
    assert User.objects.count() == 1
    assert row["token"]


def test_token_is_revoked_at_once(site: Site) -> None:
    site.serve("it", echo(), access="authenticated")
    headers = site.token(site.user("alice"))
    token = headers["Authorization"].split()[1]
    assert run("token", "revoke", token) == "revoked 1\n"
    assert site.post("/it/invoke", {"input": 1}, headers=headers).status_code == 401


def test_all_tokens_of_a_user_are_revoked(site: Site) -> None:
    alice, bob = site.user("alice"), site.user("bob")
    for user in (alice, alice, bob):
        site.token(user)
    assert run_json("token", "revoke", "--user", "alice") == [{"revoked": 2}]
    assert ApiToken.objects.get().user == bob


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["--user", "nobody"], ["token", "--user", "alice"]]
)
def test_revoking_what_is_not_there_fails(site: Site, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run("token", "revoke", *arguments)


def test_snapshot_of_this_process_follows_the_command(site: Site) -> None:
    site.serve("it", echo())
    run("disable", "/it")
    assert [deployment.name for deployment in snapshot.all_deployments()] == []
    assert SECRET not in run("list")
