"""
Runs prepared calls; the only caller of LangChain.

Streams yield encoded JSON, one item per chunk, and run in the task of whoever iterates:
LangChain's context variables do not survive a change of task. That task holds
`under_way(call)` as well, so that a cancel by id reaches it wherever it waits.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, aclosing
from typing import Any

from langchain_core.runnables import RunnableConfig

from runnables.final_answer import FinalAnswer
from runnables.invocation import Invocation
from runnables.running import RunningCall, running

# Deprecated in langchain-core, and still what LangServe's clients ask for.
warnings.filterwarnings("ignore", message="astream_log is deprecated")
warnings.filterwarnings("ignore", message="astream_events version='v1' is deprecated")


def under_way(*calls: Invocation) -> AbstractContextManager[RunningCall]:
    """
    Within it the calls can be found, cancelled by id and timed out.
    """
    first = calls[0]
    run_ids = tuple(call.run_id for call in calls)
    return running(run_ids, first.caller.principal, first.deployment.timeout)


async def invoke(call: Invocation) -> Any:
    """
    The whole output of one call.
    """
    with under_way(call):
        return await call.runnable.ainvoke(call.input, call.config)


async def batch(calls: Sequence[Invocation], *, return_exceptions: bool = False) -> list[Any]:
    """
    The outputs of the calls of one batch, in order; exceptions in their places if asked for.
    """
    if not calls:
        return []
    first = calls[0]
    configs = [_limited(call.config, first.deployment.batch_concurrency) for call in calls]
    with under_way(*calls):
        return await first.runnable.abatch(
            [call.input for call in calls], configs, return_exceptions=return_exceptions
        )


async def stream(call: Invocation) -> AsyncIterator[bytes]:
    """
    The output's chunks, encoded.
    """
    dumps = call.served.encoder.dumps
    async with aclosing(call.runnable.astream(call.input, call.config)) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
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
