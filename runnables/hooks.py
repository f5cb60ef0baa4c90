"""
What the apps above this one join in with: each appends its functions here when it is ready.
Nothing here knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

if TYPE_CHECKING:
    from django.http import HttpRequest
    from langchain_core.callbacks import BaseCallbackHandler

    from runnables.invocation import Invocation
    from runnables.models import Deployment
    from runnables.served import ServedDeployment


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How the calls of one request ended. `state` is "done" or one of `figures.OUTCOMES`; times
    are in seconds, `ended_at` since the epoch. `error` is what the runnable raised, if it did.
    """

    state: str
    error: BaseException | None
    seconds: float
    first_chunk: float | None
    ended_at: float


@dataclass(frozen=True, slots=True)
class AdminSection:
    """
    A part of a deployment's page in the admin: its template sees it as `section`.
    """

    key: str
    title: str
    template: str
    context: Mapping[str, Any]


class Recorder(Protocol):
    """
    Follows one call. `handler`, if there is one, joins the run's callbacks.
    """

    handler: BaseCallbackHandler | None

    def begin(self) -> None:
        """
        The run begins, in the task that runs it.
        """

    def finish(self, outcome: Outcome, *, is_first: bool) -> None:
        """
        The request has ended; `is_first` for one of its calls, whose outcome is the request's.
        """


@dataclass(frozen=True, slots=True)
class KnownRun:
    """
    What is known of a run, or of a step of one: then `run_id` is the whole run's.
    """

    run_id: UUID
    deployment: int | None
    version: int
    principal: str
    state: str


@dataclass(frozen=True, slots=True)
class RunPayload:
    """
    What a run, or a step of one, was given and what it said.
    """

    deployment: int | None
    input: Any
    output: Any


# (call) -> Recorder | None
recorders: list[Callable[[Invocation], Recorder | None]] = []
# (call) -> what joins the metadata of its answer: `{"feedback_tokens": […]}`. Never awaited:
# it must neither wait nor ask the database.
answer_metadata: list[Callable[[Invocation], Mapping[str, Any]]] = []
# (id of a run or a step) -> what is known; asks the database.
known_runs: list[Callable[[UUID], KnownRun | None]] = []
# (ids of runs or steps) -> id -> what is kept of their payloads; asks the database.
run_payloads: list[Callable[[Sequence[UUID]], Mapping[UUID, RunPayload]]] = []
# After a process has read the deployments anew; may ask the database.
refreshed: list[Callable[[], None]] = []
# Once an hour in each process; may ask the database.
tidied: list[Callable[[], None]] = []
# Before a process ends; may ask the database.
stopping: list[Callable[[], None]] = []
# (user) -> what is kept of them: what -> how many.
kept: list[Callable[[Any], dict[str, int]]] = []
# (user) -> deletes what this app keeps of them: what -> how many.
forgotten: list[Callable[[Any], dict[str, int]]] = []
# () -> numbers of this process by name, that are reported with what it is running.
gauges: list[Callable[[], Mapping[str, int]]] = []
# (request, deployment) -> what its page in the admin has beside what is the runnable's, if
# whoever looks may see it.
admin_sections: list[Callable[[HttpRequest, Deployment], AdminSection | None]] = []


# (deployment, about) -> OpenAPI path items by path below the deployment. `about(endpoint, method,
# parameters)` begins an operation: its tags, id and security.
described: list[Callable[[ServedDeployment, Callable[..., dict[str, Any]]], Mapping[str, Any]]] = []


def known_run(run_id: UUID) -> KnownRun | None:
    """
    What any app knows of the run or step; asks the database.
    """
    return next((found for find in known_runs if (found := find(run_id))), None)


def payloads_of(run_ids: Sequence[UUID]) -> dict[UUID, RunPayload]:
    """
    What any app has kept of what these runs and steps were given and said.
    """
    found: dict[UUID, RunPayload] = {}
    for find in run_payloads:
        found.update(find(run_ids))
    return found
