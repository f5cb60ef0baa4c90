"""
Call a deployment of this project, or of LangServe, as if its runnable were here.

    joke = RemoteRunnable("https://example.org/joke", token="…")
    joke.invoke({"topic": "cats"})

Imports no Django. `docs/python-client.md` says what differs from LangServe's client.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal, Self, TypedDict, Unpack, cast
from uuid import UUID

try:
    import httpx
except ImportError as missing:
    raise ImportError(
        "runnables.client needs httpx: pip install 'django-langserve[client]'"
    ) from missing

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
)
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_async_callback_manager_for_config
from langchain_core.runnables.schema import StreamEvent
from langchain_core.runnables.utils import Input, Output
from langchain_core.tracers.log_stream import RunLog, RunLogPatch

from runnables.client_answers import as_chunk, event_data, final_output, patch_ops
from runnables.client_callbacks import areplay, replay
from runnables.client_config import prepared, prepared_list, sendable
from runnables.client_decoding import InputEncoder
from runnables.client_errors import IncompleteStream, RemoteError
from runnables.client_http import Http, Options
from runnables.client_wire import Wire

__all__ = ["IncompleteStream", "RemoteError", "RemoteRunnable"]


class Filters(TypedDict, total=False):
    """
    Which steps `astream_log` and `astream_events` tell of; the server applies them.
    """

    include_names: Sequence[str] | None
    include_types: Sequence[str] | None
    include_tags: Sequence[str] | None
    exclude_names: Sequence[str] | None
    exclude_types: Sequence[str] | None
    exclude_tags: Sequence[str] | None


class RemoteRunnable(Runnable[Input, Output]):
    """
    A runnable that runs on a server.

    Threads and event loops may share one. `close` and `aclose`, or a `with` block, give its
    connections back; it opens new ones when it is used again.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float | httpx.Timeout | None = None,
        auth: Any = None,
        headers: Any = None,
        cookies: Any = None,
        verify: ssl.SSLContext | str | bool = True,
        cert: str | tuple[str, ...] | None = None,
        client_kwargs: Mapping[str, Any] | None = None,
        use_server_callback_events: bool = True,
        token: str | None = None,
        retries: int = 2,
        csrf_cookie: str = "csrftoken",
        csrf_header: str = "X-CSRFToken",
        encoders: Mapping[type, Callable[[Any], Any]] | None = None,
    ) -> None:
        self.url = url
        self._use_callback_events = use_server_callback_events
        options = Options(
            timeout=timeout,
            auth=auth,
            headers=headers,
            cookies=cookies,
            verify=verify,
            cert=cert,
            client_kwargs=client_kwargs or {},
            token=token,
            retries=retries,
            csrf_cookie=csrf_cookie,
            csrf_header=csrf_header,
        )
        self._wire = Wire(url, Http(options), InputEncoder(encoders))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(httpx.URL(self.url).copy_with(userinfo=b''))!r})"

    # What goes in and out only the server knows: `get_input_jsonschema` asks it.
    @property
    def InputType(self) -> Any:
        return Any

    @property
    def OutputType(self) -> Any:
        return Any

    @property
    def last_run_id(self) -> UUID | None:
        """
        The run that was answered last, of a batch its first; None if a server does not tell.
        Where calls go on side by side, choose their ids: `config={"run_id": uuid4()}`.
        """
        return self._wire.last_run_ids[0] if self._wire.last_run_ids else None

    @property
    def last_run_ids(self) -> tuple[UUID, ...]:
        return self._wire.last_run_ids

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        config = prepared(config, kwargs)
        return self._call_with_config(partial(self._invoke, sendable(config)), input, config)

    async def ainvoke(
        self, input: Input, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Output:
        config = prepared(config, kwargs)
        ask = partial(self._ainvoke, sendable(config))
        return await self._acall_with_config(ask, input, config)

    def batch(
        self,
        inputs: list[Input],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Output]:
        """
        All inputs in one request. With `return_exceptions` a RemoteError stands where a run
        has failed; servers of LangServe fail the whole batch all the same.
        """
        configs = prepared_list(config, len(inputs), kwargs)
        ask = partial(self._batch, [*map(sendable, configs)], return_exceptions)
        return _not_interrupted(
            self._batch_with_config(ask, inputs, configs, return_exceptions=return_exceptions)
        )

    async def abatch(
        self,
        inputs: list[Input],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Output]:
        configs = prepared_list(config, len(inputs), kwargs)
        ask = partial(self._abatch, [*map(sendable, configs)], return_exceptions)
        outputs = self._abatch_with_config(
            ask, inputs, configs, return_exceptions=return_exceptions
        )
        return _not_interrupted(await outputs)

    def stream(
        self, input: Input, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Output]:
        config = prepared(config, kwargs)
        chunks = partial(self._chunks, sendable(config))
        yield from self._transform_stream_with_config(iter([input]), chunks, config)

    async def astream(
        self, input: Input, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Output]:
        """
        Chunk by chunk. Leaving early hangs up, which stops the run; inside `aclosing(…)` that
        happens at once.
        """
        config = prepared(config, kwargs)
        transformer = partial(self._achunks, sendable(config))
        chunks: Any = self._atransform_stream_with_config(_only(input), transformer, config)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def astream_log(  # type: ignore[override]
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        diff: bool = True,
        with_streamed_output_list: bool = True,
        **filters: Unpack[Filters],
    ) -> AsyncIterator[RunLogPatch]:
        """
        The server's log of the run: patches, or with `diff=False` the log as it grows.
        """
        config = prepared(config, _not_filters(filters))
        body = {"input": input, "diff": True, **filters}
        values = self._wire.astream("stream_log", body, sendable(config))
        log = RunLog(state=cast(Any, None))
        async with self._local_run(input, config) as run, aclosing(values):
            async for value in values:
                ops = patch_ops(value)
                run.output = final_output(ops, run.output)
                if not with_streamed_output_list:
                    ops = [op for op in ops if op["path"] != "/streamed_output/-"]
                patch = RunLogPatch(*ops)
                if not diff:
                    patch = log = log + patch
                yield patch

    async def astream_events(  # type: ignore[override]
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        version: Literal["v1", "v2"] | None = None,
        preset: Literal["", "final_answer"] = "",
        **filters: Unpack[Filters],
    ) -> AsyncIterator[StreamEvent]:
        """
        Events from inside the run. Their version is settled on the server.

        The preset "final_answer" asks for an agent's words to its reader alone; servers of
        LangServe do not know it, and send everything.
        """
        if version not in (None, "v1", "v2"):
            raise NotImplementedError(f"Servers stream events of v1 or v2, not of {version}.")
        config = prepared(config, _not_filters(filters))
        body = {"input": input, **filters}
        values = self._wire.astream("stream_events", body, sendable(config), preset=preset)
        async with self._local_run(input, config) as run, aclosing(values):
            async for event in values:
                # The run itself ends last, so the last output is its own.
                run.output = event_data(event).get("output", run.output)
                yield event

    def cancel(self, run_id: UUID | str) -> bool:
        """
        Stop a run; whether there still was one to stop. Servers of LangServe cannot.
        """
        return self._wire.cancel(run_id)

    async def acancel(self, run_id: UUID | str) -> bool:
        return await self._wire.acancel(run_id)

    def get_input_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        """
        The server's schema, which may depend on the `configurable` of the config.
        """
        return self._wire.schema("input_schema", sendable(config or {}))

    async def aget_input_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        return await self._wire.aschema("input_schema", sendable(config or {}))

    def get_output_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        return self._wire.schema("output_schema", sendable(config or {}))

    async def aget_output_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        return await self._wire.aschema("output_schema", sendable(config or {}))

    def get_config_jsonschema(self, *, include: Sequence[str] | None = None) -> dict[str, Any]:
        """
        What config the server takes; what to `include` is settled there.
        """
        return self._wire.schema("config_schema", {})

    async def aget_config_jsonschema(self) -> dict[str, Any]:
        return await self._wire.aschema("config_schema", {})

    def close(self) -> None:
        """
        Close the connections of sync calls.
        """
        self._wire.http.close()

    async def aclose(self) -> None:
        """
        Close the connections of this event loop and of sync calls. A loop that ends as
        `asyncio.run` ends it closes its own.
        """
        await self._wire.http.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _invoke(
        self, sent: dict[str, Any], input: Input, run_manager: CallbackManagerForChainRun
    ) -> Output:
        answer = self._wire.invoke(input, sent)
        if self._use_callback_events:
            replay(run_manager, answer.events)
        return cast(Output, answer.output)

    async def _ainvoke(
        self, sent: dict[str, Any], input: Input, run_manager: AsyncCallbackManagerForChainRun
    ) -> Output:
        answer = await self._wire.ainvoke(input, sent)
        if self._use_callback_events:
            await areplay(run_manager, answer.events)
        return cast(Output, answer.output)

    def _batch(
        self,
        sent: list[dict[str, Any]],
        partial_results: bool,
        inputs: list[Input],
        run_manager: list[CallbackManagerForChainRun],
    ) -> list[Exception | Output]:
        answer = self._wire.batch(inputs, sent, partial=partial_results)
        if self._use_callback_events:
            for run, events in zip(run_manager, answer.events, strict=True):
                replay(run, events)
        return cast(list[Exception | Output], answer.output)

    async def _abatch(
        self,
        sent: list[dict[str, Any]],
        partial_results: bool,
        inputs: list[Input],
        run_manager: list[AsyncCallbackManagerForChainRun],
    ) -> list[Exception | Output]:
        answer = await self._wire.abatch(inputs, sent, partial=partial_results)
        if self._use_callback_events:
            for run, events in zip(run_manager, answer.events, strict=True):
                await areplay(run, events)
        return cast(list[Exception | Output], answer.output)

    def _chunks(self, sent: dict[str, Any], inputs: Iterator[Input]) -> Iterator[Output]:
        with closing(self._wire.stream("stream", {"input": next(inputs)}, sent)) as values:
            for value in values:
                yield as_chunk(value)

    async def _achunks(
        self, sent: dict[str, Any], inputs: AsyncIterator[Input]
    ) -> AsyncIterator[Output]:
        body = {"input": await anext(inputs)}
        async with aclosing(self._wire.astream("stream", body, sent)) as values:
            async for value in values:
                yield as_chunk(value)

    @asynccontextmanager
    async def _local_run(self, input: Any, config: RunnableConfig) -> AsyncIterator[Any]:
        """
        The call as a run of the caller's own handlers; `output` of what it yields ends it.
        """
        run = await get_async_callback_manager_for_config(config).on_chain_start(
            None,
            input,
            name=config.get("run_name") or self.get_name(),
            run_id=config.get("run_id"),
        )
        told = SimpleNamespace(output=None)
        try:
            yield told
        except BaseException as error:
            await run.on_chain_error(error)
            raise
        await run.on_chain_end(told.output)


def _not_filters(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in Filters.__annotations__}


def _not_interrupted(outputs: list[Output]) -> list[Output]:
    """
    LangChain returns a cancellation too where exceptions are to be returned.
    """
    for output in outputs:
        if isinstance(output, BaseException) and not isinstance(output, Exception):
            raise output
    return outputs


async def _only(value: Input) -> AsyncIterator[Input]:
    yield value
