"""
Stands for our package where LangServe serves `tests.served`: the same registrations,
made into `add_routes` calls. Runs in LangServe's own environment only.
"""

from typing import Any

from fastapi import FastAPI, HTTPException
from langchain_core.runnables import Runnable
from langserve import CustomUserType, add_routes

__all__ = ["CustomUserType", "PublicError", "application", "register"]

application = FastAPI()
# What LangServe has too; the rest it does in its own way, or not at all.
SHARED = frozenset(
    {
        *("input_type", "output_type", "config_keys", "include_callback_events"),
        *("per_req_config_modifier", "stream_log_name_allow_list"),
        *("enabled_endpoints", "disabled_endpoints", "astream_events_version"),
    }
)


class PublicError(HTTPException):
    def __init__(self, message: str, *, status: int = 400, code: str = "") -> None:
        super().__init__(status, message)


def register(name: str, runnable: Any = None, *, path: str | None = None, **options: Any) -> Any:
    if runnable is None:
        return lambda factory: register(name, factory, path=path, **options)
    made = runnable if isinstance(runnable, Runnable) else runnable()
    shared = {option: value for option, value in options.items() if option in SHARED}
    add_routes(application, made, path=path or f"/{name}", **shared)
    return runnable
