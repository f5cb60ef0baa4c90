"""
The DRF doors: invoke, batch, schemas, cancel and the list of deployments.

DRF's policies run inline: DRF itself is synchronous and would take a thread per request.
`access.admit` stands in for its authentication and permission classes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from uuid import UUID

import orjson
from django.http import HttpRequest, HttpResponse
from django.urls import get_script_prefix
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from langchain_core.runnables import RunnableConfig
from rest_framework.request import Request
from rest_framework.views import APIView

from runnables import access, database, pages, problems, running, runtime, snapshot
from runnables.bodies import batch_body, empty_batch_body, invoke_body
from runnables.conf import conf
from runnables.connection import read_payload
from runnables.exceptions import (
    CsrfFailed,
    UnknownEndpoint,
    UnknownRun,
    WrongMethod,
)
from runnables.identity import CallerRequest, identify
from runnables.invocation import Invocation, decode_hash, prepare, prepare_batch, schema_config
from runnables.models import CancelRequest
from runnables.own import OwnDeployment
from runnables.schemas import Schemas
from runnables.served import Served

JSON = "application/json"


class ServedRequest(Request):
    """
    A request whose data is read within the limits of a deployment.
    """

    served: Served
    caller: CallerRequest
    takes_files = False
    # Set by our views; DRF would ask its authenticators, in a thread.
    _user: Any
    _auth: Any

    def _load_data_and_files(self) -> None:
        body = self.caller.raw_body = self._request.read()
        data = read_payload(self._request, body, self.served, files=self.takes_files)
        self._data = self._full_data = data
        self._files: Any = MultiValueDict()


class AsyncView(APIView):
    """
    An APIView whose handlers and policies are coroutines, and whose errors are `problems`.
    """

    run_id: UUID | None = None
    errors = problems.ErrorPolicy()

    async def dispatch(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        self.args, self.kwargs, self.headers = args, kwargs, {}
        try:
            await snapshot.loaded()
            if request.method == "OPTIONS":
                return allowed_methods(self.allowed_methods)
            self.request = await self.admit(request)
            return await self._handler(request)(self.request)
        except Exception as error:  # noqa: BLE001 - translated in one place
            return self.handle_exception(error)

    async def admit(self, request: HttpRequest) -> Request:
        """
        The request as DRF knows it, its caller known and let in.
        """
        caller = await identify(request)
        return self._known(ServedRequest(request), caller)

    def handle_exception(self, error: Exception) -> HttpResponse:  # type: ignore[override]
        return problems.response(self.errors.report(error, self.run_id), self.run_id)

    def _known(self, request: ServedRequest, caller: CallerRequest) -> Request:
        request._user, request._auth = caller.user, caller.auth
        self.caller = request.caller = caller
        return request

    def _handler(self, request: HttpRequest) -> Callable[[Request], Awaitable[HttpResponse]]:
        name = (request.method or "").lower()
        handler = getattr(self, name, None) if name in self.http_method_names else None
        if handler is None:
            raise WrongMethod(", ".join(self.allowed_methods))
        return handler  # type: ignore[no-any-return]


class DeploymentView(OwnDeployment, AsyncView):
    """
    One endpoint of one deployment. URL arguments: `path`, and perhaps `config_hash`.

    Subclass one of those below, with `runnable` set, for a view of your own.
    """

    endpoint = ""
    takes_files = False

    async def admit(self, request: HttpRequest) -> Request:
        deployment = self.deployment = self.find_deployment(self.kwargs.get("path") or "")
        self.errors = deployment.errors
        config_hash = self.kwargs.get("config_hash")
        caller = await access.admit(request, deployment, self.endpoint, config_hash)
        served = deployment.served or await deployment.ready()
        wrapped = ServedRequest(request)
        wrapped.served, wrapped.takes_files = served, self.takes_files
        return self._known(wrapped, caller)

    async def _prepare(self, request: Request) -> Invocation:
        call = await prepare(
            self.deployment,
            self.endpoint,
            request.data,
            caller=self.caller,
            hash_config=decode_hash(self.kwargs.get("config_hash") or ""),
            version=self.caller.wanted_version,
            modify=self.modify_config,
        )
        self.run_id = call.run_id
        return call


class InvokeView(DeploymentView):
    """
    Call a deployment once and return its whole output.
    """

    endpoint = "invoke"
    takes_files = True

    async def post(self, request: Request) -> HttpResponse:
        call = await self._prepare(request)
        return _answer(invoke_body(call, await runtime.invoke(call)), call)


class BatchView(DeploymentView):
    """
    Call a deployment on each of a list of inputs. `return_exceptions` in the body asks for
    what could be had: then `errors` stands beside `output`, and either has null where the
    other has something.
    """

    endpoint = "batch"

    async def post(self, request: Request) -> HttpResponse:
        payload: Any = request.data
        calls = await prepare_batch(
            self.deployment,
            payload,
            caller=self.caller,
            hash_config=decode_hash(self.kwargs.get("config_hash") or ""),
            version=self.caller.wanted_version,
            modify=self.modify_config,
        )
        if not calls:
            return HttpResponse(empty_batch_body(self.deployment), content_type=JSON)
        self.run_id = calls[0].run_id
        partial = payload.get("return_exceptions") is True
        outputs = await runtime.batch(calls, return_exceptions=partial)
        return _answer(batch_body(calls, outputs, partial=partial), calls[0])


class SchemaView(DeploymentView):
    async def get(self, request: Request) -> HttpResponse:
        served, config = await schema_config(
            self.deployment,
            self.kwargs.get("config_hash") or "",
            self.caller,
            self.caller.wanted_version,
        )
        return HttpResponse(self.drawn(served.schemas, config), content_type=JSON)

    def drawn(self, schemas: Schemas, config: RunnableConfig) -> bytes:
        raise NotImplementedError


class InputSchemaView(SchemaView):
    """
    JSON Schema of a deployment's input.
    """

    endpoint = "input_schema"

    def drawn(self, schemas: Schemas, config: RunnableConfig) -> bytes:
        return schemas.input_schema(config)


class OutputSchemaView(SchemaView):
    """
    JSON Schema of a deployment's output.
    """

    endpoint = "output_schema"

    def drawn(self, schemas: Schemas, config: RunnableConfig) -> bytes:
        return schemas.output_schema(config)


class ConfigSchemaView(SchemaView):
    """
    JSON Schema of the config that callers may send.
    """

    endpoint = "config_schema"

    def drawn(self, schemas: Schemas, config: RunnableConfig) -> bytes:
        return schemas.config_schema


class CancelRunView(DeploymentView):
    """
    Stop a run by its id, in whatever process it is going on. Only whoever started it may;
    for a run started anonymously, knowing its id is the right to.
    """

    endpoint = "cancel"

    async def post(self, request: Request) -> HttpResponse:
        try:
            run_id = UUID(self.kwargs["run_id"])
        except ValueError:
            raise UnknownRun from None
        await cancel_run(run_id, self.caller.principal)
        return HttpResponse(
            orjson.dumps({"run_id": str(run_id), "status": "cancelled"}), content_type=JSON
        )


class DeploymentListView(AsyncView):
    """
    The deployments that the caller may use.
    """

    async def get(self, request: Request) -> HttpResponse:
        allowed = await access.may_use(self.caller, snapshot.all_deployments())
        base = get_script_prefix() + (f"{conf.prefix}/" if conf.prefix else "")
        content = [
            {
                "name": deployment.name,
                "path": base + deployment.path,
                "description": deployment.values["description"],
                "endpoints": sorted(deployment.endpoints),
                "access": deployment.matrix.audience,
                "playground_type": deployment.values["playground_type"],
            }
            for deployment in sorted(allowed, key=lambda one: one.path)
        ]
        return HttpResponse(orjson.dumps(content), content_type=JSON)


def allowed_methods(methods: Iterable[str]) -> HttpResponse:
    return HttpResponse(status=204, headers={"Allow": ", ".join(methods)})


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """
    Django's own CSRF failures: a page for who sent a form, else the site's one error body.
    """
    if pages.is_wanted(request):
        return pages.refusal(
            request,
            title=_("This form is out of date"),
            text=_(
                "You have signed in or out since it was opened, or your browser keeps no "
                "cookies. Go back, reload the page and send it again."
            ),
            status=403,
        )
    return problems.response(CsrfFailed(f"CSRF check failed: {reason}"))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """
    Anything that no route knows: a page for who followed a link, else the one error body.
    """
    if pages.is_wanted(request):
        return pages.refusal(
            request,
            title=_("There is nothing here"),
            text=_("The address may be wrong, or what was here is gone."),
            status=404,
        )
    return problems.response(UnknownEndpoint())


async def cancel_run(run_id: UUID, principal: str) -> None:
    """
    Stop a run, in whatever process it is going on; raises UnknownRun.
    """
    call = running.find(run_id)
    if call is None:
        await _cancel_elsewhere(run_id, principal)
    elif call.principal != principal:
        raise UnknownRun
    else:
        call.cancel()


async def _cancel_elsewhere(run_id: UUID, principal: str) -> None:
    """
    Leave word for the other processes and wait until one has taken it; raises UnknownRun.
    """
    await database.query(
        lambda: CancelRequest.objects.update_or_create(
            run_id=run_id, defaults={"principal": principal, "done": False}
        )
    )
    mine = CancelRequest.objects.filter(run_id=run_id)
    deadline = time.monotonic() + 2 * conf.poll_seconds + 0.5
    try:
        while time.monotonic() < deadline:
            await asyncio.sleep(conf.poll_seconds / 2 or 0.1)
            if await database.query(mine.filter(done=True).exists):
                return
        raise UnknownRun
    finally:
        await database.query(mine.delete)


def _answer(content: bytes, call: Invocation) -> HttpResponse:
    response = HttpResponse(content, content_type=JSON)
    response["X-Run-Id"] = str(call.run_id)
    response["X-Deployment-Version"] = str(call.version.number)
    if call.dropped:
        response["X-Dropped-Config"] = dropped_header(call.dropped)
    return response


def dropped_header(dropped: tuple[str, ...]) -> str:
    """
    Names of dropped config keys, safe to stand in a header.
    """
    text = ", ".join(dropped)[:1000]
    return "".join(mark if " " <= mark <= "~" else "?" for mark in text)


VIEWS: dict[str, type[DeploymentView]] = {
    view.endpoint: view
    for view in (
        InvokeView,
        BatchView,
        InputSchemaView,
        OutputSchemaView,
        ConfigSchemaView,
        CancelRunView,
    )
}
