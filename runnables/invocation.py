"""
From a payload to something ready to run: config, schema and run id are settled here, once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import Runnable, RunnableConfig

from runnables import __version__, access, canaries, config_hash, hooks, limits
from runnables.callback_events import CallbackEvents
from runnables.conf import conf
from runnables.config import AcceptedConfig, accept
from runnables.exceptions import BatchTooLarge, InvalidConfigHash, InvalidInput, UnknownVersion
from runnables.identity import CallerRequest
from runnables.run_ids import new_run_id
from runnables.served import Served, ServedDeployment, ServedVersion

# `(config, request) -> config`, or a coroutine function of the same.
Modifier = Callable[[RunnableConfig, CallerRequest], Any]

PRESETS = ("", "final_answer")
FILTERS = (
    "include_names",
    "include_types",
    "include_tags",
    "exclude_names",
    "exclude_types",
    "exclude_tags",
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """
    One prepared call: nothing is left to check.
    """

    deployment: ServedDeployment
    endpoint: str
    version: ServedVersion
    # Which of a trial's two sides answered: stable, canary, or pinned by the caller.
    arm: str
    served: Served
    caller: CallerRequest
    input: Any
    config: RunnableConfig
    run_id: UUID
    dropped: tuple[str, ...] = ()
    filters: Mapping[str, list[str]] | None = None
    preset: str = ""
    events: CallbackEvents | None = None
    # Filled once, when all else is settled: a copy of the call for it would be dear.
    recorders: list[hooks.Recorder] = field(default_factory=list)

    @property
    def runnable(self) -> Runnable[Any, Any]:
        return self.served.runnable


async def prepare(
    deployment: ServedDeployment,
    endpoint: str,
    payload: Any,
    *,
    caller: CallerRequest,
    hash_config: Mapping[str, Any],
    preset: str = "",
    version: str = "",
    modify: Modifier | None = None,
) -> Invocation:
    """
    A call of `invoke`, `stream`, `stream_log` or `stream_events`. A `preset` chooses
    among the events: "final_answer". A `version` is a number that the caller asks for.
    `modify` stands for the registered config modifier.

    Raises InvalidInput, ConfigNotAllowed, RateLimited, UnknownVersion and NotPermitted,
    and whatever the config modifier raises.
    """
    if deployment.counts_calls:
        await limits.count_call(deployment, caller)
    if version:
        chosen, arm = await _wanted(deployment, caller, version)
    else:
        chosen, arm = canaries.pick(deployment, caller)
    served = chosen.served or await chosen.ready()
    body = _envelope(payload, "input")
    caller.data = body
    accepted = _accept([hash_config, body.get("config")], deployment, chosen, served, caller)
    config = await _server_config(accepted.config, deployment, endpoint, caller, modify)
    served.schemas.check_needed(config)
    call = Invocation(
        deployment=deployment,
        endpoint=endpoint,
        version=chosen,
        arm=arm,
        served=served,
        caller=caller,
        input=served.schemas.input_validator(config)(body["input"]),
        config=config,
        run_id=_run_id(config, caller.run_id),
        dropped=accepted.dropped,
        filters=_filters(body) if endpoint in ("stream_log", "stream_events") else None,
        preset=_preset(preset) if endpoint == "stream_events" else "",
    )
    return _with_callbacks(call, endpoint)


async def prepare_batch(
    deployment: ServedDeployment,
    payload: Any,
    *,
    caller: CallerRequest,
    hash_config: Mapping[str, Any],
    version: str = "",
    modify: Modifier | None = None,
) -> list[Invocation]:
    """
    The calls of one batch, in order.

    Raises BatchTooLarge, and what `prepare` does; `loc` of a bad input begins with
    `["inputs", i]`.
    """
    if deployment.counts_calls:
        await limits.count_call(deployment, caller)
    if version:
        chosen, arm = await _wanted(deployment, caller, version)
    else:
        chosen, arm = canaries.pick(deployment, caller)
    served = chosen.served or await chosen.ready()
    body = _envelope(payload, "inputs")
    caller.data = body
    inputs = _batch_inputs(body["inputs"], deployment)
    accepted = [
        _accept([hash_config, config], deployment, chosen, served, caller)
        for config in _batch_configs(body, len(inputs))
    ]
    shared = len(accepted) == 1 and not isinstance(body.get("config"), list)
    made = [
        await _server_config(one.config, deployment, "batch", caller, modify) for one in accepted
    ]
    for each in made:
        served.schemas.check_needed(each)
    calls = []
    for index, value in enumerate(inputs):
        position = 0 if shared else index
        # Nothing is shared between runs: handlers may write to what they are given.
        config: RunnableConfig = {**made[position]}
        config["metadata"] = {**config["metadata"]}
        if shared and index:
            config.pop("run_id", None)  # one id names one run: the first
        call = Invocation(
            deployment=deployment,
            endpoint="batch",
            version=chosen,
            arm=arm,
            served=served,
            caller=caller,
            input=served.schemas.input_validator(config)(value, loc=("inputs", index)),
            config=config,
            run_id=_run_id(config, None if index else caller.run_id),
            dropped=accepted[position].dropped,
        )
        calls.append(_with_callbacks(call, "batch"))
    return calls


def decode_hash(hash_text: str) -> Mapping[str, Any]:
    """
    The config in a `/c/{hash}/` path; raises InvalidConfigHash.
    """
    try:
        return config_hash.decode(hash_text) if hash_text else {}
    except config_hash.BadConfigHash:
        raise InvalidConfigHash from None


async def schema_config(
    deployment: ServedDeployment, hash_text: str, caller: CallerRequest, version: str = ""
) -> tuple[Served, RunnableConfig]:
    """
    The runnable and effective config of a schema request: defaults and the hash, without
    the modifier.
    """
    if version:
        chosen, _ = await _wanted(deployment, caller, version)
    else:
        chosen, _ = canaries.pick(deployment, caller)
    served = chosen.served or await chosen.ready()
    hashed = decode_hash(hash_text)
    return served, accept([hashed], chosen, served.schemas, owner=caller.principal).config


async def _wanted(
    deployment: ServedDeployment, caller: CallerRequest, wanted: str
) -> tuple[ServedVersion, str]:
    """
    The version that the caller asks for; raises NotPermitted and UnknownVersion.
    """
    access.require(caller, deployment, "pin_version")
    if not wanted.isdecimal() or len(wanted) > 9:
        raise UnknownVersion
    return await deployment.numbered(int(wanted)), "pinned"


def _envelope(payload: Any, required: str) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise InvalidInput(
            [{"type": "dict_type", "loc": [], "msg": "The body should be a JSON object"}]
        )
    if required not in payload:
        raise InvalidInput([{"type": "missing", "loc": [required], "msg": "Field required"}])
    kwargs = payload.get("kwargs")
    # LangChain.js sends a list of them with a batch; they are ignored anyway.
    if required == "input" and kwargs is not None and not isinstance(kwargs, dict):
        raise InvalidInput(
            [{"type": "dict_type", "loc": ["kwargs"], "msg": "kwargs should be an object"}]
        )
    return payload


def _batch_inputs(inputs: Any, deployment: ServedDeployment) -> list[Any]:
    if not isinstance(inputs, list):
        raise InvalidInput(
            [{"type": "list_type", "loc": ["inputs"], "msg": "inputs should be a list"}]
        )
    most = deployment.limits.max_batch_size
    if len(inputs) > most:
        raise BatchTooLarge(
            f"This batch has {len(inputs)} inputs; the deployment takes {most} at most."
        )
    return inputs


def _batch_configs(body: Mapping[str, Any], inputs: int) -> list[Any]:
    configs = body.get("config")
    if configs is None or isinstance(configs, dict):
        return [configs]
    if not isinstance(configs, list):
        raise _bad_batch_config("config should be an object, or a list of one for each input.")
    if len(configs) != inputs:
        raise _bad_batch_config(
            f"There are {inputs} inputs, but {len(configs)} configs: give one for each, or one object."
        )
    return configs


def _bad_batch_config(message: str) -> InvalidInput:
    error = InvalidInput([{"type": "value_error", "loc": ["config"], "msg": message}])
    error.message = error.detail = message  # LangServe answers a text here
    return error


def _accept(
    sent: list[Any],
    deployment: ServedDeployment,
    version: ServedVersion,
    served: Served,
    caller: CallerRequest,
) -> AcceptedConfig:
    max_recursion = deployment.limits.max_recursion
    if (
        not any(sent)
        and not version.defaults
        and not max_recursion
        and all(config is None or isinstance(config, dict) for config in sent)
    ):
        return AcceptedConfig({})
    accepted = accept(
        sent,
        version,
        served.schemas,
        owner=caller.principal,
        run_id=caller.run_id,
        max_recursion=max_recursion,
    )
    if accepted.overrides:
        access.require(caller, deployment, "override_config")
    return accepted


async def _server_config(
    accepted: RunnableConfig,
    deployment: ServedDeployment,
    endpoint: str,
    caller: CallerRequest,
    modify: Modifier | None,
) -> RunnableConfig:
    """
    The accepted config with all that the server adds: a new dict, never shared.
    """
    config: RunnableConfig = {**accepted}
    if caller.user.is_authenticated:
        config["configurable"] = {**config.get("configurable", {}), **await identity(caller)}
    if modify := modify or deployment.options.per_req_config_modifier:
        config = await _modified(config, modify, caller)
    config["metadata"] = {
        **(config.get("metadata") or {}),
        "__useragent": caller.http.META.get("HTTP_USER_AGENT", ""),
        "__langserve_version": __version__,
        "__langserve_endpoint": endpoint,
    }
    if deployment.run_name:
        config["run_name"] = deployment.run_name
    return config


async def identity(caller: CallerRequest) -> dict[str, Any]:
    """
    The server-owned ids of a signed-in caller. Callers cannot send them, and they are
    written over whatever a version's defaults say.
    """
    known = {
        "user_id": str(caller.user.pk),
        "username": caller.user.get_username(),
        "groups": sorted(caller.groups.values()),
    }
    if conf.tenant:
        tenant = conf.tenant(caller)
        known["tenant"] = await tenant if inspect.isawaitable(tenant) else tenant
    return known


async def _modified(
    config: RunnableConfig, modifier: Modifier, caller: CallerRequest
) -> RunnableConfig:
    if inspect.iscoroutinefunction(modifier):
        modified = await modifier(config, caller)
    else:
        # It may ask the database, as ordinary Django code does.
        modified = await sync_to_async(modifier)(config, caller)
        if inspect.isawaitable(modified):
            modified = await modified
    if not isinstance(modified, dict):
        raise TypeError(
            f"per_req_config_modifier returned {type(modified).__name__}, not a config dict"
        )
    return {**modified}  # type: ignore[typeddict-item]


def _run_id(config: RunnableConfig, chosen: UUID | None) -> UUID:
    """
    The run id from the config, else from the header, else a new one; also put into the config.
    """
    given = config.get("run_id") or chosen or new_run_id()
    run_id = config["run_id"] = given if isinstance(given, UUID) else UUID(str(given))
    return run_id


def _filters(body: Mapping[str, Any]) -> dict[str, list[str]]:
    filters = {}
    for name in FILTERS:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InvalidInput(
                [{"type": "list_type", "loc": [name], "msg": f"{name} should be a list of texts"}]
            )
        filters[name] = value
    return filters


def _preset(name: str) -> str:
    if name not in PRESETS:
        known = ", ".join(filter(None, PRESETS))
        message = f"there is no preset {name!r}; known are: {known}"
        raise InvalidInput([{"type": "value_error", "loc": ["preset"], "msg": message}])
    return name


def _with_callbacks(call: Invocation, endpoint: str) -> Invocation:
    """
    The call with the handlers of this site, of this deployment, and its own event recorder.
    """
    if call.deployment.include_callback_events and endpoint in ("invoke", "batch"):
        call = replace(call, events=CallbackEvents())
    handlers: list[BaseCallbackHandler] = [call.events] if call.events else []
    for make in hooks.recorders:
        if recorder := make(call):
            call.recorders.append(recorder)
            if recorder.handler:
                handlers.append(recorder.handler)
    handlers += [handler for make in conf.callbacks if (handler := make(call))]
    if call.deployment.options.callbacks:
        made = call.deployment.options.callbacks(call.caller)
        handlers += made if isinstance(made, list) else [made]
    for metadata in conf.run_metadata:
        call.config["metadata"].update(metadata(call))
    if handlers:
        call.config["callbacks"] = _joined(call.config.get("callbacks"), handlers)
    return call


def _joined(existing: Any, handlers: list[BaseCallbackHandler]) -> Any:
    """
    A new list, or a copied manager: callbacks are never shared between requests.
    """
    if existing is None or isinstance(existing, list):
        return [*(existing or ()), *handlers]
    manager = existing.copy()
    for handler in handlers:
        manager.add_handler(handler)
    return manager
