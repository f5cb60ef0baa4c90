"""
manage.py langserve sync | list | check | invoke | enable | disable | versions | rollback
     | canary | maintenance
     | token create | token list | token revoke
     | history prune | history export | history delete
     | forget-user

`--json` prints one object per line. Exit codes: 0 done, 1 failed, 2 wrong usage,
3 unhealthy (`check`).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.core.management.base import BaseCommand, CommandError

from runnables import audit, deployments, health, problems, runtime, snapshot
from runnables.exceptions import ServingError
from runnables.identity import CallerRequest
from runnables.invocation import prepare
from runnables.management import forgetting, history, rollout, tokens
from runnables.models import Deployment
from runnables.paths import normalize
from runnables.payload import BadPayload, parse
from runnables.pool import use_pool_of_ours
from runnables.registry import ENDPOINTS, default_registry
from runnables.served import ServedDeployment

UNHEALTHY = 3


class Command(BaseCommand):
    help = "Deploy registered runnables, look after them, and give out tokens."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="action", required=True)

        def command(name: str, handler: Callable[..., None], text: str) -> ArgumentParser:
            sub = commands.add_parser(name, help=text)
            sub.set_defaults(handler=handler)
            sub.add_argument(
                "--json", action="store_true", dest="as_json", help="one JSON object per line"
            )
            return sub

        command("sync", self.sync, "make the missing deployments")
        command("list", self.show_all, "show all deployments")
        check = command(
            "check", self.check_deployments, "build every deployment and say what is wrong"
        )
        check.add_argument(
            "--live", action="store_true", help="call each, and say whether it streams"
        )
        check.add_argument("--input", help="JSON or @file, for --live")
        check.add_argument("paths", nargs="*", metavar="PATH")
        invoke = command("invoke", self.invoke, "call a deployment")
        invoke.add_argument("path", metavar="PATH")
        invoke.add_argument("--input", required=True, help="JSON, or @file")
        invoke.add_argument("--stream", action="store_true", help="print chunks as they come")
        for name, on in (("enable", True), ("disable", False)):
            switch = command(name, self.switch, f"{name} a deployment or one of its endpoints")
            switch.set_defaults(on=on)
            switch.add_argument("path", metavar="PATH")
            switch.add_argument("--endpoint", choices=ENDPOINTS)
            switch.add_argument("--reason", default="", help="why, for staff")
        rollout.add_arguments(command, self.say)
        tokens.add_arguments(commands, self)
        history.add_arguments(commands, self)
        forgetting.add_arguments(command, self)

    def handle(self, *args: Any, handler: Callable[..., None], **options: Any) -> None:
        handler(**options)

    def say(self, text: str, as_json: bool, **fields: Any) -> None:
        self.stdout.write(json.dumps(fields) if as_json else text)

    def sync(self, *, as_json: bool, **_: Any) -> None:
        done = deployments.sync(default_registry)
        for name in done.created:
            self.say(f"created {name}", as_json, created=name)
        for name in done.moved:
            self.say(
                f"{name}: its path is taken; made beside it and switched off", as_json, moved=name
            )
        for name in done.orphaned:
            self.say(f"{name}: its code is gone; the row is kept", as_json, orphaned=name)
        if not (done.created or done.orphaned or as_json):
            self.stdout.write(f"nothing to do: {len(default_registry)} registered, all deployed")

    def show_all(self, *, as_json: bool, **_: Any) -> None:
        rows = list(Deployment.objects.prefetch_related("grants__group", "grants__user"))
        for row in rows:
            state = "on" if row.is_enabled else "off"
            if row.name not in default_registry:
                state = "code gone"
            access = row.access
            if access == "groups":
                whom = [str(grant.group or grant.user) for grant in row.grants.all() if grant.run]
                access = f"groups {', '.join(sorted(whom))}"
            self.say(
                f"/{row.path:<24} {row.name:<24} {state:<10} {access}",
                as_json,
                path=f"/{row.path}",
                name=row.name,
                state=state,
                access=access,
                endpoints=row.endpoints,
            )
        if not rows and not as_json:
            self.stdout.write("no deployments; run `manage.py langserve sync`")

    def check_deployments(
        self, *, live: bool, paths: list[str], as_json: bool, **options: Any
    ) -> None:
        snapshot.refresh()
        chosen = [_served(path) for path in paths] or snapshot.all_deployments()
        healthy = [
            self._check_one(deployment, live, options["input"], as_json) for deployment in chosen
        ]
        if not all(healthy):
            sys.exit(UNHEALTHY)

    def _check_one(
        self, deployment: ServedDeployment, live: bool, given: str | None, as_json: bool
    ) -> bool:
        try:
            served = deployment.build()
            served.schemas.input_schema({})
            text = "builds"
            fields: dict[str, Any] = {}
            if live:
                value = (
                    _json_or_file(given)
                    if given
                    else _example(json.loads(served.schemas.input_schema({})))
                )
                text, fields = asyncio.run(_live_check(deployment, value))
        except Exception as error:  # noqa: BLE001 - whatever a runnable raises is the finding
            reason = _reason(error)
            self._note(deployment, live, passed=False, text=reason)
            self.say(
                f"FAIL /{deployment.path}: {reason}",
                as_json,
                path=f"/{deployment.path}",
                ok=False,
                error=reason,
            )
            return False
        self._note(deployment, live, passed=True, text=text)
        self.say(
            f"ok   /{deployment.path}: {text}",
            as_json,
            path=f"/{deployment.path}",
            ok=True,
            **fields,
        )
        return True

    def _note(self, deployment: ServedDeployment, live: bool, *, passed: bool, text: str) -> None:
        """
        Keep what a live check found, where the admin shows it.
        """
        if live and deployment.pk is not None:
            row = Deployment.objects.get(pk=deployment.pk)
            health.note_check(row, passed=passed, text=text)

    def invoke(self, *, path: str, stream: bool, as_json: bool, **options: Any) -> None:
        snapshot.refresh()
        deployment = _served(path)
        value = _json_or_file(options["input"])
        try:
            asyncio.run(
                self._stream(deployment, value) if stream else self._invoke(deployment, value)
            )
        except Exception as error:  # noqa: BLE001 - whatever a runnable raises is the answer
            raise CommandError(_reason(error)) from None

    async def _invoke(self, deployment: ServedDeployment, value: Any) -> None:
        use_pool_of_ours()
        call = await prepare(
            deployment, "invoke", {"input": value}, caller=_operator(), hash_config={}
        )
        self.stdout.write(call.served.encoder.dumps(await runtime.invoke(call)).decode())

    async def _stream(self, deployment: ServedDeployment, value: Any) -> None:
        use_pool_of_ours()
        call = await prepare(
            deployment, "stream", {"input": value}, caller=_operator(), hash_config={}
        )
        async with runtime.under_way(call):
            async for chunk in runtime.stream(call):
                self.stdout.write(chunk.decode())
                self.stdout.flush()

    def switch(
        self, *, path: str, on: bool, endpoint: str | None, reason: str, as_json: bool, **_: Any
    ) -> None:
        rollout.check_length("--reason", reason, "off_reason")
        row = rollout.deployment_at(path)
        endpoints = [endpoint] if endpoint else ()
        deployments.switch(row, on=on, by=audit.COMMAND_LINE, endpoints=endpoints, reason=reason)
        what = f"{endpoint} of /{row.path}" if endpoint else f"/{row.path}"
        state = "on" if on else "off"
        self.say(f"{what} is {state}", as_json, path=f"/{row.path}", endpoint=endpoint, state=state)


def _reason(error: Exception) -> str:
    """
    What went wrong, for the operator's own eyes: the cause is shown, and only once.
    """
    problem = problems.public_error(error, detail="message")
    cause = error.__cause__
    if isinstance(error, ServingError) and cause:
        return str(cause)
    return str(problem.detail) if isinstance(problem.detail, str) else problem.message


async def _live_check(deployment: ServedDeployment, value: Any) -> tuple[str, dict[str, Any]]:
    """
    Stream it once: how many chunks came, and when the first.
    """
    use_pool_of_ours()
    await health.ask(deployment)
    call = await prepare(deployment, "stream", {"input": value}, caller=_operator(), hash_config={})
    started = time.monotonic()
    times: list[float] = []
    async with runtime.under_way(call):
        async for _ in runtime.stream(call):
            times.append(time.monotonic() - started)
    streams = len(times) > 1
    seconds = time.monotonic() - started
    text = f"{len(times)} chunks in {seconds:.2f} s: {'streams' if streams else 'does not stream'}"
    first = round(times[0], 3) if times else None
    return text, {
        "chunks": len(times),
        "streams": streams,
        "seconds": round(seconds, 3),
        "first": first,
    }


def _operator() -> CallerRequest:
    """
    Whoever sits at the terminal: past the gate, known to no database.
    """
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    caller = CallerRequest(ASGIRequest(scope, BytesIO()))
    caller.is_asked_again = False
    caller.transport = "command"
    return caller


def _served(path: str) -> ServedDeployment:
    try:
        return snapshot.find(_stored_path(path))
    except ServingError:
        raise CommandError(
            f"nothing is served at {path}; `manage.py langserve list` shows all"
        ) from None


def _stored_path(path: str) -> str:
    try:
        return normalize(path)
    except ValueError as error:
        raise CommandError(str(error)) from None


def _json_or_file(given: str) -> Any:
    try:
        text = Path(given[1:]).read_bytes() if given.startswith("@") else given.encode()
        return parse(text)
    except BadPayload as error:
        raise CommandError(f"--input: {error.message}") from None
    except OSError as error:
        raise CommandError(f"--input: {error}") from None


def _example(schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> Any:
    """
    The simplest value that fits a JSON Schema, for a first call.
    """
    definitions = definitions if definitions is not None else schema.get("$defs", {})
    if "default" in schema:
        return schema["default"]
    if "$ref" in schema:
        return _example(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions)
    if options := schema.get("enum") or schema.get("examples"):
        return options[0]
    for union in ("anyOf", "oneOf", "allOf"):
        if schema.get(union):
            return _example(schema[union][0], definitions)
    kind = schema.get("type")
    if kind == "object":
        wanted = schema.get("required", [])
        return {
            name: _example(schema.get("properties", {}).get(name, {}), definitions)
            for name in wanted
        }
    if kind == "array" and "messages" in str(schema.get("title", "")).lower():
        return [{"type": "human", "content": "Hello"}]
    return {"string": "Hello", "integer": 1, "number": 1.0, "boolean": True, "array": []}.get(
        str(kind)
    )
