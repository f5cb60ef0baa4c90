"""
The config of a call: what it inherits here, and what of it goes to the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import (
    DEFAULT_RECURSION_LIMIT,
    ensure_config,
    get_config_list,
)


def prepared(config: RunnableConfig | None, kwargs: Mapping[str, Any]) -> RunnableConfig:
    """
    The config with all that it inherits from a surrounding chain.
    """
    if kwargs:
        raise NotImplementedError(
            f"A server takes no keyword arguments, so {', '.join(sorted(kwargs))} would be lost. "
            'Declare configurable fields there and send them: config={"configurable": {…}}.'
        )
    config = ensure_config(config)
    if run_id := config.get("run_id"):
        config["run_id"] = UUID(str(run_id))
    return config


def prepared_list(
    config: RunnableConfig | list[RunnableConfig] | None, size: int, kwargs: Mapping[str, Any]
) -> list[RunnableConfig]:
    return [prepared(one, kwargs) for one in get_config_list(config, size)]


def sendable(config: Mapping[str, Any]) -> dict[str, Any]:
    """
    What of a RunnableConfig goes to the server: all that is JSON and says something.

    Defaults stay here: LangServe refuses an empty `configurable` where it allows none.
    """
    sent: dict[str, Any] = {
        key: config[key]
        for key in ("tags", "run_name", "max_concurrency", "run_id")
        if config.get(key)
    }
    if config.get("recursion_limit") not in (None, DEFAULT_RECURSION_LIMIT):
        sent["recursion_limit"] = config["recursion_limit"]
    configurable = config.get("configurable") or {}
    for key, values in (
        ("metadata", config.get("metadata") or {}),
        ("configurable", _without_local_state(configurable)),
    ):
        if kept := {name: value for name, value in values.items() if _is_json(name, value)}:
            sent[key] = kept
    return sent


def _without_local_state(configurable: Mapping[str, Any]) -> dict[str, Any]:
    """
    A local graph keeps its machinery in `configurable`; its checkpoints are not the server's.
    """
    in_graph = any(str(name).startswith("__pregel_") for name in configurable)
    local = ("__", "checkpoint_") if in_graph else ("__",)
    return {name: value for name, value in configurable.items() if not str(name).startswith(local)}


def _is_json(name: Any, value: Any) -> bool:
    """
    Whether an entry can be sent. Local objects such as a chat history cannot, and it is
    not for the config to say what they would be as JSON.
    """
    if not isinstance(name, str):
        return False
    try:
        orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    except TypeError:
        return False
    return True
