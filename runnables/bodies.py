"""
The JSON bodies of whole answers, the same on HTTP and WebSocket.

They are put together from bytes, so that an output is encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from runnables import hooks, problems
from runnables.codec import NotSerializable, strict, tolerant
from runnables.invocation import Invocation
from runnables.served import ServedDeployment


def invoke_body(call: Invocation, output: Any) -> bytes:
    """
    `{"output", "callback_events"?, "metadata": {"run_id", "feedback_tokens"}}`
    """
    encoded = call.served.encoder.dumps(output)
    events = b',"callback_events":' + tolerant.dumps(call.events.events) if call.events else b""
    return b'{"output":' + encoded + events + b',"metadata":' + _metadata(call) + b"}"


def batch_body(
    calls: Sequence[Invocation], outputs: Sequence[Any], *, partial: bool = False
) -> bytes:
    """
    `{"output": […], "errors"?: […], "callback_events"?: [[…]], "metadata": {…}}`

    With `partial`, `output` and `errors` have null where the other has something.
    """
    encoder = calls[0].served.encoder
    if partial:
        outputs = [_encodable(call, output) for call, output in zip(calls, outputs, strict=True)]
    fields = [b'"output":' + encoder.dumps([_or_none(output) for output in outputs])]
    if partial:
        errors = [_error(call, output) for call, output in zip(calls, outputs, strict=True)]
        fields.append(b'"errors":' + strict.dumps(errors))
    if calls[0].events:
        events = [call.events.events for call in calls if call.events]
        fields.append(b'"callback_events":' + tolerant.dumps(events))
    fields.append(b'"metadata":' + _batch_metadata(calls))
    return b"{" + b",".join(fields) + b"}"


def empty_batch_body(deployment: ServedDeployment) -> bytes:
    events = b'"callback_events":[],' if deployment.include_callback_events else b""
    return b'{"output":[],' + events + b'"metadata":{"responses":[],"run_ids":[]}}'


def _encodable(call: Invocation, output: Any) -> Any:
    """
    The output, or the error that it cannot be sent: one bad output is not all of them.
    """
    try:
        if not isinstance(output, Exception):
            call.served.encoder.dumps(output)
    except NotSerializable as error:
        return error
    return output


def _or_none(output: Any) -> Any:
    return None if isinstance(output, Exception) else output


def _error(call: Invocation, output: Any) -> dict[str, Any] | None:
    if not isinstance(output, Exception):
        return None
    public = call.deployment.errors.report(output, call.run_id)
    return problems.stream_event(public, call.run_id)


def _batch_metadata(calls: Sequence[Invocation]) -> bytes:
    responses = b",".join(_metadata(call) for call in calls)
    run_ids = orjson.dumps([str(call.run_id) for call in calls])
    return b'{"responses":[' + responses + b'],"run_ids":' + run_ids + b"}"


def _metadata(call: Invocation) -> bytes:
    more = answer_metadata(call)
    if not more:
        return f'{{"run_id":"{call.run_id}","feedback_tokens":[]}}'.encode()
    return orjson.dumps({"run_id": str(call.run_id), "feedback_tokens": [], **more})


def answer_metadata(call: Invocation) -> dict[str, Any]:
    """
    What other apps add to the metadata of a call's answer: feedback tokens.
    """
    more: dict[str, Any] = {}
    for hook in hooks.answer_metadata:
        more.update(hook(call))
    return more
