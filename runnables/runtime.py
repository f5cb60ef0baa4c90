"""
Runs prepared calls; the only caller of LangChain.

Streams yield encoded JSON, one item per chunk, and run in the task of whoever iterates:
LangChain's context variables do not survive a change of task. That task holds
`under_way(call)` as well, so that a cancel by id reaches it wherever it waits.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from rest_framework.exceptions import APIException

from runnables import figures, hooks, limits, running, snapshot
from runnables.access import let_in
from runnables.exceptions import (
    ClientGone,
    InMaintenance,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    ReaderStuck,
    RunCancelled,
    RunTimedOut,
    ServingError,
)
from runnables.final_answer import FinalAnswer
from runnables.identity import identify
from runnables.invocation import Invocation
from runnables.running import RunningCall

# Deprecated in langchain-core, and still what LangServe's clients ask for.
warnings.filterwarnings("ignore", message="astream_log is deprecated")
warnings.filterwarnings("ignore", message="astream_events version='v1' is deprecated")


class under_way:
    """
    Within it the calls of one request can be found, stopped by id and timed out; they keep
    the deployment's limits, and what became of them is counted. `waiting` hears how many
    runs are ahead, each time that changes, where runs at a time are limited.

    Raises QuotaExceeded, QueueFull, RunIdInUse, and whatever stopped the run.
    """

    def __init__(self, *calls: Invocation, waiting: Callable[[int], None] | None = None) -> None:
        self._calls = calls
        self._waiting = waiting
        self._place: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> RunningCall:
        first = self._calls[0]
        deployment, caller = first.deployment, first.caller
        self.running = RunningCall(
            tuple([call.run_id for call in self._calls]),
            caller.principal,
            deployment.limits.timeout,
            deployment=deployment.pk,
            still_allowed=partial(_still_allowed, first) if caller.is_asked_again else None,
        )
        self.running.enter()
        if deployment.bounds_runs:
            try:
                await self._keep_limits(first, len(self._calls))
            except BaseException as error:
                if stopped := self.running.leave(error):
                    raise stopped from None
                raise
        for call in self._calls:
            for recorder in call.recorders:
                recorder.begin()
        return self.running

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: Any
    ) -> None:
        if self._place:
            await self._place.__aexit__(kind, error, trace)
        stopped = self.running.leave(error)
        self._end(stopped or error)
        if stopped:
            raise stopped from None

    async def _keep_limits(self, first: Invocation, runs: int) -> None:
        deployment, caller = first.deployment, first.caller
        await limits.use_quota(deployment, caller, runs)
        at_once = min(runs, deployment.limits.batch_concurrency)
        place = limits.place_in_line(deployment, at_once, self._waiting)
        try:
            await place.__aenter__()
        except BaseException:
            await limits.give_back(deployment, caller, runs)
            raise
        self._place = place
        self.running.begin()

    def _end(self, error: BaseException | None) -> None:
        state, name = ("done", "") if error is None else _outcome(error)
        ongoing = self.running
        first, began = ongoing.first_chunk_at, ongoing.started_at
        outcome = hooks.Outcome(
            state,
            error,
            time.monotonic() - began,
            None if first is None else first - began,
            time.time(),
        )
        self._count(outcome, name)
        for number, call in enumerate(self._calls):
            for recorder in call.recorders:
                recorder.finish(outcome, is_first=not number)

    def _count(self, outcome: hooks.Outcome, error: str) -> None:
        call = self._calls[0]
        if (kind := figures.kind_of(call)) is None:
            return
        figures.count(
            kind,
            figures.Finished(
                call.run_id,
                outcome.state,
                outcome.seconds,
                outcome.first_chunk,
                error,
                outcome.ended_at,
            ),
        )


def _outcome(error: BaseException) -> tuple[str, str]:
    """
    What became of a run, and the class of its error if the deployment is to blame.
    """
    match error:
        case RunTimedOut():
            return "timed_out", type(error).__name__
        case RunCancelled() | NotAuthenticated() | NotPermitted() | NotFound():
            return "cancelled", ""  # by its id, or because the caller's access ended
        case asyncio.CancelledError() | ClientGone():
            return "client_gone", ""
        case ReaderStuck():
            return "client_too_slow", ""
        case ServingError() | APIException() if error.status_code < 500:
            return "done", ""  # the runnable's own answer to a bad question
        case _:
            return "failed", type(error).__name__


async def _still_allowed(call: Invocation) -> None:
    """
    Raise a ServingError if the caller of a run that goes on could not start it now.
    """
    deployment = call.deployment
    if deployment.pk is not None:
        deployment = snapshot.find(deployment.path)
    caller = await identify(call.caller.http)
    if caller.principal != call.caller.principal:
        raise NotAuthenticated
    # Maintenance lets what goes on come to its end.
    with suppress(InMaintenance):
        await let_in(caller, deployment, call.endpoint)


async def invoke(call: Invocation) -> Any:
    """
    The whole output of one call.
    """
    async with under_way(call):
        return await call.runnable.ainvoke(call.input, call.config)


async def batch(calls: Sequence[Invocation], *, return_exceptions: bool = False) -> list[Any]:
    """
    The outputs of the calls of one batch, in order; exceptions in their places if asked for.
    """
    if not calls:
        return []
    first = calls[0]
    limit = first.deployment.limits
    at_once = min(limit.batch_concurrency, limit.max_concurrent_runs or limit.batch_concurrency)
    configs = [_limited(call.config, at_once) for call in calls]
    async with under_way(*calls):
        return await first.runnable.abatch(
            [call.input for call in calls], configs, return_exceptions=return_exceptions
        )


async def stream(call: Invocation) -> AsyncIterator[bytes]:
    """
    The output's chunks, encoded.
    """
    dumps = call.served.encoder.dumps
    ongoing = running.find(call.run_id)
    async with aclosing(call.runnable.astream(call.input, call.config)) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            if ongoing and ongoing.first_chunk_at is None:
                ongoing.first_chunk_at = time.monotonic()
            yield dumps(chunk)


async def stream_log(call: Invocation) -> AsyncIterator[bytes]:
    """
    The run's log as `{"ops": [JSON Patch operations]}`, encoded.
    """
    if not _is_logged(call):
        return
    dumps = call.served.event_encoder.dumps
    runnable: Any = call.runnable
    log = runnable.astream_log(call.input, call.config, diff=True, **(call.filters or {}))
    async with aclosing(log) as patches:
        async for patch in patches:
            yield dumps({"ops": patch.ops})


async def stream_events(call: Invocation) -> AsyncIterator[bytes]:
    """
    LangChain's StreamEvents, encoded, without metadata that is for the server alone.
    """
    if not _is_logged(call):
        return
    dumps = call.served.event_encoder.dumps
    runnable: Any = call.runnable
    version = call.deployment.events_version
    stream = runnable.astream_events(
        call.input, call.config, version=version, **(call.filters or {})
    )
    wanted = FinalAnswer() if call.preset == "final_answer" else None
    async with aclosing(stream) as events:
        async for event in events:
            if wanted is None or wanted(event):
                yield dumps(_public_event(event))


STREAMS = {"stream": stream, "stream_log": stream_log, "stream_events": stream_events}


def _limited(config: RunnableConfig, concurrency: int) -> RunnableConfig:
    asked = config.get("max_concurrency")
    config["max_concurrency"] = min(asked, concurrency) if asked else concurrency
    return config


def _is_logged(call: Invocation) -> bool:
    """
    Whether logs and events may be streamed: LangServe's list is of the runnable's own run name.
    """
    allowed = call.deployment.name_allow_list
    own_config = getattr(call.runnable, "config", None) or {}
    return allowed is None or own_config.get("run_name") in allowed


def _public_event(event: dict[str, Any]) -> dict[str, Any]:
    metadata = event.get("metadata")
    if metadata and any(key.startswith("__") for key in metadata):
        public = {key: value for key, value in metadata.items() if not key.startswith("__")}
        return {**event, "metadata": public}
    return event
