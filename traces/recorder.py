"""
Follows runs by LangChain's callbacks, in the run's own task: a few assignments for each event.
Whatever takes longer (encoding, redacting, writing) is done by `traces.writer` afterwards.
"""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from runnables.conf import conf
from runnables.hooks import KnownRun, Outcome
from runnables.inline_handler import InlineHandler
from traces import queue, usage
from traces.rules import Rules, rules_of

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult

    from runnables.invocation import Invocation

MAX_TRACEBACK = 8_000
KINDS = frozenset(("chain", "tool", "retriever", "prompt", "parser", "llm"))


def find(run_id: UUID) -> Recorder | None:
    """
    The run of this process with this id, or with a step of this id, until it is written.
    """
    found = queue.followed.get(run_id)
    if found or not queue.followed:
        return found
    return next((one for one in list(queue.followed.values()) if run_id in one.steps), None)


def recorder_of(call: Invocation) -> Recorder | None:
    """
    The recorder of one call; None where the deployment's runs are not recorded.
    """
    rules = rules_of(call.deployment.pk)
    if not rules.is_on:
        return None
    is_sampled = rules.sample >= 1 or random.random() < rules.sample  # noqa: S311 - no secret
    return Recorder(call, rules, is_sampled=is_sampled)


@dataclass(slots=True, eq=False)
class StepRecord:
    """
    One run of a runnable as its callbacks told of it; times are of the monotonic clock.
    """

    id: UUID
    parent: UUID | None
    position: int
    kind: str
    name: str
    started: float
    input: Any
    tags: Sequence[str] | None
    metadata: Mapping[str, Any] | None
    output: Any = None
    ended: float | None = None
    first_token: float | None = None
    state: str = "running"
    error_class: str = ""
    error: str = ""
    model: str = ""
    tokens: tuple[int, int] | None = None
    retries: int = 0


class Recorder(InlineHandler):
    """
    Follows one call: its callbacks, when it began and how it ended.
    """

    # Of the class until they change: most runs are done before.
    dropped = 0
    outcome: Outcome | None = None
    is_first = has_usage = is_written = False
    _explained: BaseException | None = None

    def __init__(self, call: Invocation, rules: Rules, *, is_sampled: bool) -> None:
        self.handler: BaseCallbackHandler | None = self if is_sampled else None
        self.run_id = call.run_id
        self.rules = rules
        # Not the call itself, nor its request: runs may wait long to be written.
        self.deployment, self.version, self.arm = call.deployment, call.version, call.arm
        self.deployment_pk = call.deployment.pk
        self.endpoint = call.endpoint
        self.principal = call.caller.principal
        self.user_pk = call.caller.user.pk
        self.transport = call.caller.transport
        self.input = call.input
        self.config: Mapping[str, Any] = call.config
        self.steps: dict[UUID, StepRecord] = {}
        self.started = self.started_at = 0.0
        # Steps that began or ended since they were last written; and whether any ever was.
        self.changed: list[StepRecord] = []

    @property
    def root(self) -> StepRecord | None:
        return self.steps.get(self.run_id)

    def known_run(self) -> KnownRun:
        return KnownRun(
            self.run_id, self.deployment_pk, self.version.number, self.principal, state_of(self)
        )

    # What the runtime tells

    def begin(self) -> None:
        self.started, self.started_at = time.monotonic(), time.time()
        queue.followed[self.run_id] = self

    def finish(self, outcome: Outcome, *, is_first: bool) -> None:
        self.outcome, self.is_first = outcome, is_first
        queue.put(self)

    # What LangChain tells

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        run_type: str | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        kind = run_type if run_type in KINDS else "chain"
        self._start(kind, serialized, inputs, run_id, parent_run_id, tags, metadata, name)

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        given = messages[0] if len(messages) == 1 else messages
        self._start("llm", serialized, given, run_id, parent_run_id, tags, metadata, name)

    def on_llm_start(
        self,
        serialized: Any,
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        given = prompts[0] if len(prompts) == 1 else prompts
        self._start("llm", serialized, given, run_id, parent_run_id, tags, metadata, name)

    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        given = input_str if inputs is None else inputs
        self._start("tool", serialized, given, run_id, parent_run_id, tags, metadata, name)

    def on_retriever_start(
        self,
        serialized: Any,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        self._start("retriever", serialized, query, run_id, parent_run_id, tags, metadata, name)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **_: Any) -> None:
        step = self.steps.get(run_id)
        if step and step.first_token is None:
            step.first_token = time.monotonic()

    def on_retry(self, retry_state: Any, *, run_id: UUID, **_: Any) -> None:
        if step := self.steps.get(run_id):
            step.retries += 1

    def on_chain_end(self, outputs: Any, *, run_id: UUID, inputs: Any = None, **_: Any) -> None:
        step = self.steps.get(run_id)
        if step and inputs is not None:
            step.input = _kept(inputs)  # known whole only when a stream of it has ended
        self._end(step, outputs)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        self._end(self.steps.get(run_id), output)

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **_: Any) -> None:
        self._end(self.steps.get(run_id), documents)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        step = self.steps.get(run_id)
        if step:
            step.tokens, step.model = usage.of(response, step.metadata)
            self.has_usage = self.has_usage or step.tokens is not None
        self._end(step, usage.answer(response))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._fail(self.steps.get(run_id), error)

    on_tool_error = on_retriever_error = on_chain_error

    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, response: Any = None, **_: Any
    ) -> None:
        step = self.steps.get(run_id)
        if step and response is not None and response.generations:
            step.output = usage.answer(response)  # what had come before it broke off
        self._fail(step, error)

    def _start(
        self,
        kind: str,
        serialized: Any,
        given: Any,
        run_id: UUID,
        parent: UUID | None,
        tags: list[str] | None,
        metadata: dict[str, Any] | None,
        name: str | None,
    ) -> None:
        position = len(self.steps)
        if position >= conf.trace_steps or self.outcome:
            self.dropped += 1
            return
        step = self.steps[run_id] = StepRecord(
            run_id,
            parent,
            position,
            kind,
            name or _name_of(serialized),
            time.monotonic(),
            _kept(given),
            tags,
            metadata,
        )
        self.changed.append(step)

    def _end(self, step: StepRecord | None, output: Any) -> None:
        if step is None or self.outcome:
            return
        step.ended, step.output, step.state = time.monotonic(), _kept(output), "done"
        self.changed.append(step)

    def _fail(self, step: StepRecord | None, error: BaseException) -> None:
        if step is None or self.outcome:
            return
        step.ended, step.error_class = time.monotonic(), type(error).__name__
        stopped = isinstance(error, asyncio.CancelledError | GeneratorExit)
        step.state = "cancelled" if stopped else "failed"
        if not stopped:
            # The same error climbs through all steps above; it is explained where it arose.
            step.error = _explained(error) if error is not self._explained else str(error)
            self._explained = error
        self.changed.append(step)


def state_of(recorder: Recorder) -> str:
    """
    The state of one run: its request's, but for the runs of a batch, which end apart.
    """
    outcome, root = recorder.outcome, recorder.root
    if outcome is None:
        return "running"
    if recorder.endpoint != "batch" or root is None:
        return outcome.state
    if root.state in ("done", "failed"):
        return root.state
    # Stopped because another one of the batch had failed.
    return "cancelled" if outcome.state == "failed" else outcome.state


def _kept(value: Any) -> Any:
    """
    The value as it is now: what a later step adds to a dict or list is not in it.
    """
    kind = type(value)
    if kind is dict or kind is list:
        return value.copy()
    return value


def _name_of(serialized: Any) -> str:
    if isinstance(serialized, Mapping):
        return str(serialized.get("name") or (serialized.get("id") or ["Unnamed"])[-1])
    return "Unnamed"


def _explained(error: BaseException) -> str:
    """
    The error's text and where it arose, the last lines if there are many.
    """
    try:
        text = "".join(traceback.format_exception(error))
    except Exception as second:  # noqa: BLE001 - an exception whose text cannot be made
        return f"{type(error).__name__} (its text cannot be shown: {type(second).__name__})"
    return text if len(text) <= MAX_TRACEBACK else f"…{text[-MAX_TRACEBACK:]}"
