"""
Name -> runnable, filled by code; knows no model and no request.

Everything that is wrong with a registration is said when it is made. During
autodiscovery the errors are collected instead, so that one bad module neither hides
the others' errors nor takes the site down where it merely could not be built.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from importlib.util import find_spec
from typing import Any, overload

from langchain_core.runnables import Runnable, RunnableConfig

from runnables.error_log import logger_for_errors
from runnables.paths import normalize

logger = logger_for_errors(__name__)

AnyRunnable = Runnable[Any, Any]
Factory = Callable[[], AnyRunnable]

ENDPOINTS = (
    "invoke",
    "batch",
    "stream",
    "stream_log",
    "stream_events",
    "websocket",
    "playground",
    "chat",
    "feedback",
    "token_feedback",
    "public_trace_link",
    "input_schema",
    "output_schema",
    "config_schema",
    "config_hashes",
)
ACCESS = ("public", "authenticated", "staff")
VALIDATION = ("strict", "lenient", "off")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.~-]*")


class RegistrationError(Exception):
    """
    A registration that cannot stand; `check_id` is the id of its system check.
    """

    check_id = "langserve.E001"


class NotARunnable(RegistrationError, TypeError):
    check_id = "langserve.E002"


class BadPath(RegistrationError, ValueError):
    check_id = "langserve.E003"


class AlreadyRegistered(RegistrationError, ValueError):
    check_id = "langserve.E004"


class BadOption(RegistrationError, ValueError):
    check_id = "langserve.E005"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    What `register` takes beside the name; the names are LangServe's where it has them.

    Callables and types (the first block) stay in code. The rest are the first values of
    the Deployment row, which the admin owns from then on.
    """

    input_type: Any = "auto"
    output_type: Any = "auto"
    input_schema: Any = None
    output_schema: Any = None
    per_req_config_modifier: Callable[..., Any] | None = None
    permission_classes: Sequence[type] = ()
    callbacks: Callable[[Any], Any] | None = None
    encoders: Mapping[type, Callable[[Any], Any]] = field(default_factory=dict)
    serializer: Any = None
    translate_error: Callable[[Exception], Exception | None] | None = None
    health_check: Callable[..., Any] | None = None
    token_feedback_config: Mapping[str, Any] | None = None

    access: str | Sequence[str] = "authenticated"
    listed: bool = True
    description: str = ""
    config_keys: Sequence[str] = ("configurable",)
    extra_configurable: Sequence[str] = ()
    open_configurable: Sequence[str] = ()
    locked_configurable: Sequence[str] = ()
    default_config: Mapping[str, Any] = field(default_factory=dict)
    strict_config: bool = False
    include_callback_events: bool = False
    enable_feedback_endpoint: bool = False
    enable_public_trace_link_endpoint: bool = False
    stream_log_name_allow_list: Sequence[str] | None = None
    enabled_endpoints: Sequence[str] | None = None
    disabled_endpoints: Sequence[str] | None = None
    playground_type: str = "default"
    astream_events_version: str = "v2"
    validation: str = "strict"
    max_batch_size: int = 100
    batch_concurrency: int = 8
    timeout: float = 600.0
    max_input_bytes: int | None = None
    max_concurrent_runs: int | None = None
    max_queued_runs: int = 100
    requests_per_minute: int | None = None
    anonymous_requests_per_minute: int | None = None
    daily_quota: int | None = None
    max_recursion: int | None = None

    def endpoints(self) -> tuple[str, ...]:
        """
        The endpoints switched on, by LangServe's rules for its two lists.
        """
        on = _endpoint_names("enabled_endpoints", self.enabled_endpoints)
        off = _endpoint_names("disabled_endpoints", self.disabled_endpoints)
        if on and off:
            raise BadOption("give enabled_endpoints or disabled_endpoints, not both")
        if self.enabled_endpoints is not None:
            return tuple(name for name in ENDPOINTS if name in on)
        flags = {
            "feedback": self.enable_feedback_endpoint,
            "public_trace_link": self.enable_public_trace_link_endpoint,
        }
        return tuple(name for name in ENDPOINTS if name not in off and flags.get(name, True))


class Registration:
    """
    One registered runnable: its name, its path, its options, and how to build it.
    """

    def __init__(
        self,
        name: str,
        source: AnyRunnable | Factory,
        *,
        path: str,
        options: Options,
        origin: str = "",
    ) -> None:
        self.name = name
        self.path = path
        self.options = options
        self.origin = origin
        self._source = source
        self._built: AnyRunnable | None = source if isinstance(source, Runnable) else None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Registration {self.name} at /{self.path}>"

    @property
    def built(self) -> AnyRunnable | None:
        return self._built

    def build(self) -> AnyRunnable:
        """
        The runnable; a factory is called once, by whoever comes first, in that one's thread.
        """
        with self._lock:
            if self._built is None:
                built = self._source()  # type: ignore[operator]
                _require_runnable(built)
                self._built = built
            return self._built


@dataclass(frozen=True, slots=True)
class Problem:
    """
    A module that did not register all it meant to.
    """

    module: str
    error: Exception


class Registry:
    """
    The runnables of a site. There is one default; tests make their own.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, Registration] = {}
        self.problems: list[Problem] = []

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def find(self, name: str) -> Registration | None:
        return self._by_name.get(name)

    @overload
    def register(
        self, name: str, runnable: None = None, **options: Any
    ) -> Callable[[Factory], Factory]: ...
    @overload
    def register(self, name: str, runnable: AnyRunnable | Factory, **options: Any) -> Any: ...

    def register(
        self, name: str, runnable: Any = None, *, path: str | None = None, **options: Any
    ) -> Any:
        """
        Give a runnable a name, so that it can be deployed.

            register("joke", prompt | model, access="public")      # an instance

            @register("agent", playground_type="chat")             # or a factory: called
            def agent() -> Runnable: ...                           # once, at the first call

        `path` (default: the name) begins with a slash; "/" is the site's root. `access` is
        "public", "authenticated", "staff" or a list of group names. See `Options` for the
        rest. Raises TypeError or ValueError that says what is wrong.
        """
        if runnable is None:
            return lambda factory: self.register(name, factory, path=path, **options)
        registration = _registration(name, runnable, path, options)
        self._refuse_twins(registration)
        self._by_name[name] = registration
        return runnable

    def _refuse_twins(self, new: Registration) -> None:
        for old in self:
            if old.name == new.name:
                raise AlreadyRegistered(f"{new.name!r} is registered twice (first in {old.origin})")
            if old.path == new.path:
                raise AlreadyRegistered(
                    f"{new.name!r}: path '/{new.path}' is taken by {old.name!r} already"
                )

    def discover(self, modules: Iterable[str]) -> None:
        """
        Import what registers runnables; whatever goes wrong is kept in `problems`.
        """
        for module in modules:
            try:
                import_module(module)
            except Exception as error:
                logger.exception("%s could not register its runnables", module)
                self.problems.append(Problem(module, error))

    def clear(self) -> None:
        self._by_name.clear()
        self.problems.clear()


def modules_of_apps(packages: Iterable[str]) -> list[str]:
    """
    The `runnables` module of each package that has one.
    """
    # Our own app is called `runnables`: it has no module of that name.
    return [f"{package}.runnables" for package in packages if find_spec(f"{package}.runnables")]


def _registration(
    name: str, source: Any, path: str | None, options: dict[str, Any]
) -> Registration:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadOption(
            f"name {name!r}: use letters, digits and _ . ~ - and begin with a letter or digit"
        )
    if not isinstance(source, Runnable) and (isinstance(source, type) or not callable(source)):
        _require_runnable(source)
    return Registration(
        name,
        source,
        path=_path(name, path),
        options=options_of(name, options),
        origin=_caller_module(),
    )


def _path(name: str, path: str | None) -> str:
    if path is not None and not (isinstance(path, str) and path.startswith("/")):
        raise BadPath(f"{name!r}: path must start with '/', got {path!r}")
    try:
        return normalize(name if path is None else path)
    except ValueError as error:
        raise BadPath(f"{name!r}: {error}") from None


def options_of(name: str, given: Mapping[str, Any]) -> Options:
    """
    The options given by these names, checked; raises BadOption that names the runnable.
    """
    known = {option.name for option in fields(Options)}
    if unknown := sorted(given.keys() - known):
        raise BadOption(
            f"{name!r}: unknown option {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    options = Options(**given)
    try:
        _check(options)
    except BadOption as error:
        raise BadOption(f"{name!r}: {error}") from None
    return options


def _check(options: Options) -> None:
    _check_types(options)
    options.endpoints()
    _one_of("validation", options.validation, VALIDATION)
    _one_of("playground_type", options.playground_type, ("default", "chat"))
    _one_of("astream_events_version", options.astream_events_version, ("v1", "v2"))
    if isinstance(options.access, str):
        _one_of("access", options.access, ACCESS)
    elif not options.access or not all(isinstance(name, str) and name for name in options.access):
        raise BadOption("access as a list names one or more groups")
    check_config_keys(options.config_keys)
    for types in ("input_type", "output_type", "input_schema", "output_schema"):
        _refuse_pydantic_v1(types, getattr(options, types))
    if options.token_feedback_config:
        _check_token_feedback(options.token_feedback_config)


def _check_token_feedback(config: Any) -> None:
    configs: Any = config.get("key_configs", ()) if isinstance(config, Mapping) else ()
    if isinstance(configs, str) or len(configs) != 1:
        raise BadOption("token_feedback_config needs exactly one entry in key_configs")
    key = configs[0].get("key") if isinstance(configs[0], Mapping) else None
    if not isinstance(key, str) or not 0 < len(key) <= 100:
        raise BadOption('token_feedback_config names its key: {"key_configs": [{"key": "…"}]}')


_LISTS = (
    "extra_configurable",
    "open_configurable",
    "locked_configurable",
    "stream_log_name_allow_list",
)
_COUNTS = ("max_batch_size", "batch_concurrency", "max_queued_runs")
# None is no limit.
_LIMITS = (
    "max_input_bytes",
    "max_concurrent_runs",
    "requests_per_minute",
    "anonymous_requests_per_minute",
    "daily_quota",
    "max_recursion",
)


def _check_types(options: Options) -> None:
    for name in ("per_req_config_modifier", "callbacks", "translate_error", "health_check"):
        value = getattr(options, name)
        if value is not None and not callable(value):
            raise BadOption(f"{name} is a function, got {value!r}")
    for name in _LISTS:
        value = getattr(options, name)
        if isinstance(value, str) or not isinstance(value, Iterable | None):
            raise BadOption(f"{name} is a list of texts, got {value!r}")
    if not isinstance(options.access, str | Iterable):
        raise BadOption(f"access is a text or a list of groups, got {options.access!r}")
    if not isinstance(options.default_config, Mapping):
        raise BadOption(f"default_config is a config dict, got {options.default_config!r}")
    for name in (*_COUNTS, *_LIMITS):
        value = getattr(options, name)
        if (value is not None or name not in _LIMITS) and not _is_positive(value, int):
            raise BadOption(f"{name} is a whole number of at least 1, got {value!r}")
    if not _is_positive(options.timeout, (int, float)):
        raise BadOption(f"timeout is a number of seconds above 0, got {options.timeout!r}")


def _is_positive(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and value > 0


# Keys of RunnableConfig that callers may send.
CONFIG_KEYS = tuple(sorted(set(RunnableConfig.__annotations__) - {"run_name", "callbacks"}))


def check_config_keys(keys: Sequence[str]) -> None:
    """
    Raise BadOption unless these are keys of RunnableConfig that callers may send.
    """
    if isinstance(keys, str) or (unknown := sorted(set(keys) - set(CONFIG_KEYS))):
        bad = keys if isinstance(keys, str) else ", ".join(unknown)
        raise BadOption(f"config_keys is a list out of {', '.join(CONFIG_KEYS)}; got {bad}")


def _one_of(option: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise BadOption(f"{option} is one of {', '.join(allowed)}, got {value!r}")


def _endpoint_names(option: str, given: Sequence[str] | None) -> frozenset[str]:
    if isinstance(given, str):
        raise BadOption(f"{option} is a list of endpoint names, got the text {given!r}")
    # The seed document calls the endpoint by the method it serves.
    names = frozenset(
        "stream_events" if n.lower() == "astream_events" else n.lower() for n in given or ()
    )
    if unknown := sorted(names - set(ENDPOINTS)):
        raise BadOption(
            f"{option}: unknown endpoint {', '.join(unknown)}; known are {', '.join(ENDPOINTS)}"
        )
    return names


def _require_runnable(value: object) -> None:
    if not isinstance(value, Runnable):
        raise NotARunnable(f"Expected a Runnable, got {type(value)}")


def _refuse_pydantic_v1(option: str, value: Any) -> None:
    v1 = sys.modules.get("pydantic.v1")
    if v1 and isinstance(value, type) and issubclass(value, v1.BaseModel):
        raise BadOption(
            f"{option}: {value.__name__} is a pydantic v1 model; write it for pydantic 2"
        )


def _caller_module() -> str:
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


default_registry = Registry()
register = default_registry.register
