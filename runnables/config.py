"""
The config that a caller may send: from the body, and from the hash in the path.

Both, batch lists too, pass `accept`. What `config_keys` does not open and ids that
nobody declared are dropped, as LangServe does, and named to the caller; what would give
the caller somebody else's identity, state or credentials is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT, RunnableConfig

from runnables.exceptions import ConfigNotAllowed, InvalidInput

if TYPE_CHECKING:
    from runnables.schemas import Schemas
    from runnables.served import ServedVersion

# Written by the server, from who is calling.
SERVER_OWNED = frozenset({"user_id", "username", "groups", "tenant"})
# Ids whose value names state of its owner: two callers' "1" are two sessions.
OWNED_STATE = ("thread_id", "session_id")
_GUARDED_WORDS = frozenset(
    ["key", "apikey", "secret", "token", "password", "endpoint", "headers", "proxy"]
)
_GUARDED_PAIRS = (("base", "url"),)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")

MAX_TAGS = 20
MAX_TAG_LENGTH = 100
MAX_METADATA_BYTES = 4096
MAX_RECURSION = 1_000
MAX_CONCURRENCY = 100


@dataclass(frozen=True, slots=True)
class AcceptedConfig:
    """
    `config` is what the runnable gets of it, `dropped` names what it does not, and
    `overrides` the declared ids that the caller set.
    """

    config: RunnableConfig
    dropped: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()


def accept(
    sent: list[Any],
    version: ServedVersion,
    schemas: Schemas,
    *,
    owner: str,
    run_id: UUID | None = None,
    max_recursion: int | None = None,
) -> AcceptedConfig:
    """
    One config out of the version's defaults and those sent, later ones winning; raises
    InvalidInput or ConfigNotAllowed.
    """
    dropped: list[str] = []
    highest = max_recursion or MAX_RECURSION
    accepted = [
        _accept_one(config, version, schemas, dropped, highest)
        for config in sent
        if config is not None
    ]
    overrides = {name for one in accepted for name in one.get("configurable", ())}
    if run_id and all(
        config.get("run_id", run_id) in (run_id, str(run_id)) for config in sent if config
    ):
        # The same id came by header, which every deployment takes.
        dropped = [name for name in dropped if name != "run_id"]
    if dropped and version.strict_config:
        raise ConfigNotAllowed(f"This deployment does not take: {', '.join(sorted(set(dropped)))}.")
    merged = _merge([dict(version.defaults), *accepted])
    if max_recursion:
        wanted = merged.get("recursion_limit", DEFAULT_RECURSION_LIMIT)
        merged["recursion_limit"] = min(wanted, max_recursion)
    if configurable := merged.get("configurable"):
        for name in OWNED_STATE:
            if configurable.get(name) is not None:
                configurable[name] = f"{owner or 'anonymous'}-{configurable[name]}"
    return AcceptedConfig(
        merged,
        tuple(sorted(set(dropped))),
        tuple(sorted((overrides & schemas.declared) - {*OWNED_STATE})),
    )


def looks_like_credential(name: str) -> bool:
    """
    Whether an id, by its words, may carry a secret or an address: `openai_api_key`,
    `baseUrl`; not `max_tokens`.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    pairs = tuple(pairwise(words))
    return any(word in _GUARDED_WORDS for word in words) or any(
        pair in pairs for pair in _GUARDED_PAIRS
    )


def _accept_one(
    sent: Any, version: ServedVersion, schemas: Schemas, dropped: list[str], max_recursion: int
) -> dict[str, Any]:
    if not isinstance(sent, Mapping):
        raise InvalidInput(
            [{"type": "dict_type", "loc": ["config"], "msg": "config should be an object"}]
        )
    open_keys = version.config_keys
    dropped += [
        key
        for key, value in sent.items()
        if key not in open_keys and key != "configurable" and _says_something(key, value)
    ]
    kept = {key: value for key, value in sent.items() if key in open_keys and value is not None}
    extra: dict[str, Any] = {}
    configurable = sent.get("configurable")
    if isinstance(configurable, Mapping) and configurable:
        declared, extra = _split_configurable(configurable, version, schemas, dropped)
        if (declared or extra) and "configurable" not in open_keys:
            raise ConfigNotAllowed(
                "`configurable` is not allowed in the config of this deployment. To allow it, add "
                "'configurable' to its config_keys."
            )
        kept["configurable"] = declared
    accepted = schemas.accept_config(kept) if kept else {}
    if extra:
        accepted["configurable"] = {**extra, **accepted.get("configurable", {})}
    check_bounds(accepted, max_recursion)
    return accepted


def _split_configurable(
    sent: Mapping[str, Any], version: ServedVersion, schemas: Schemas, dropped: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    declared: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in sent.items():
        if name in SERVER_OWNED or name.startswith("checkpoint_") or name.startswith("__"):
            raise ConfigNotAllowed(f"`configurable.{name}` is set by the server alone.")
        if name in version.locked:
            raise ConfigNotAllowed(f"`configurable.{name}` is locked in this deployment.")
        is_declared = name in schemas.declared
        if not is_declared and name not in version.extra_configurable:
            dropped.append(f"configurable.{name}")
        elif looks_like_credential(name) and name not in version.open_configurable:
            raise ConfigNotAllowed(
                f"`configurable.{name}` is closed: it looks like a credential or an address. "
                "Name it in the deployment's open_configurable to let callers set it."
            )
        elif is_declared:
            declared[name] = value
        else:
            extra[name] = value
    return declared, extra


def _merge(configs: list[dict[str, Any]]) -> RunnableConfig:
    merged: dict[str, Any] = {}
    for config in configs:
        for key, value in config.items():
            if key == "tags":
                merged["tags"] = sorted({*merged.get("tags", ()), *value})
            elif key in ("metadata", "configurable"):
                merged[key] = {**merged.get(key, {}), **value}
            elif (
                not (key == "recursion_limit" and value == DEFAULT_RECURSION_LIMIT)
                and value is not None
            ):
                merged[key] = value
    return merged  # type: ignore[return-value]


def _says_something(key: str, value: Any) -> bool:
    """
    Clients fill in defaults with every call; dropping those is no news.
    """
    if key in ("recursion_limit", "recursionLimit"):
        return bool(value != DEFAULT_RECURSION_LIMIT)
    return value not in (None, [], {}, "")


def check_bounds(config: Mapping[str, Any], max_recursion: int) -> None:
    tags = config.get("tags") or ()
    if len(tags) > MAX_TAGS or any(len(tag) > MAX_TAG_LENGTH for tag in tags):
        _out_of_bounds("tags", f"at most {MAX_TAGS} tags of {MAX_TAG_LENGTH} characters")
    metadata = config.get("metadata") or {}
    if len(orjson.dumps(metadata, default=str)) > MAX_METADATA_BYTES:
        _out_of_bounds("metadata", f"at most {MAX_METADATA_BYTES:,} bytes as JSON")
    if any(key.startswith("__") for key in metadata):
        _out_of_bounds("metadata", "without keys that begin with two underscores")
    for key, most in (("recursion_limit", max_recursion), ("max_concurrency", MAX_CONCURRENCY)):
        value = config.get(key)
        if value is not None and not 1 <= value <= most:
            _out_of_bounds(key, f"between 1 and {most}")


def _out_of_bounds(key: str, wanted: str) -> None:
    raise InvalidInput([{"type": "value_error", "loc": [key], "msg": f"should be {wanted}"}])
