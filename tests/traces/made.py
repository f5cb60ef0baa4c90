"""
Rows of traces as the writer makes them, without a run.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from runnables.identity import principal_of
from runnables.models import Deployment, Grant
from traces.models import Step, Trace

SECRET_QUESTION = "what is the canary called"
SECRET_ANSWER = "it is called Tweety"
SECRETS = (SECRET_QUESTION, SECRET_ANSWER, "hidden-error-text", "hidden-metadata", "hidden-config")


def trace(
    deployment: Deployment | None, user: Any = None, *, ago: float = 60, **fields: Any
) -> Trace:
    """
    A finished run that began so many seconds ago, with payloads that are found again.
    """
    return Trace.objects.create(**trace_fields(deployment, user, ago=ago, **fields))


def trace_fields(
    deployment: Deployment | None, user: Any = None, *, ago: float = 60, **fields: Any
) -> dict[str, Any]:
    began: datetime = timezone.now() - timedelta(seconds=ago)
    asked, said = {"question": SECRET_QUESTION}, {"answer": SECRET_ANSWER}
    return {
        "deployment": deployment,
        "deployment_name": deployment.name if deployment else "gone",
        "version": 1,
        "endpoint": "invoke",
        "user": user,
        "principal": principal_of(user) if user else "",
        "started_at": began,
        "ended_at": began + timedelta(seconds=1),
        "name": "RunnableSequence",
        "state": "done",
        "duration_ms": 1000.0,
        "input": json(asked),
        "output": json(said),
        "input_size": len(json(asked)),
        "output_size": len(json(said)),
        "input_shape": "question: text, 25 characters",
        "output_shape": "answer: text, 19 characters",
        "input_preview": SECRET_QUESTION,
        "output_preview": SECRET_ANSWER,
        "metadata": json({"note": "hidden-metadata"}),
        "config": json({"configurable": {"style": "hidden-config"}}),
        **fields,
    }


def step(of: Trace, position: int, parent: Any = None, **fields: Any) -> Step:
    return Step.objects.create(**step_fields(of, position, parent, **fields))


def step_fields(of: Trace, position: int, parent: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "trace": of,
        "parent": parent.pk if parent else of.pk,
        "position": position,
        "kind": "chain",
        "name": f"step {position}",
        "state": "done",
        "offset_ms": position,
        "duration_ms": 5.0,
        **fields,
    }


class Scene:
    """
    A deployment; alice, who calls it, and bob, who may see its traces but no payloads.
    """

    def __init__(self) -> None:
        self.qa = deployment("qa")
        self.alice, self.bob = user("alice"), user("bob")
        grant(self.qa, self.bob, "see_traces")
        self.as_alice, self.as_bob = browser_of(self.alice), browser_of(self.bob)

    def mine(self, **fields: Any) -> Trace:
        return trace(self.qa, self.alice, **fields)


def deployment(name: str) -> Deployment:
    return Deployment.objects.create(name=name, path=name)


def user(name: str, **fields: Any) -> Any:
    return get_user_model().objects.create_user(name, **fields)


def grant(at: Deployment, whom: Any, right: str) -> None:
    """
    One right more.
    """
    keys = {"deployment": at, "audience": "user", "user": whom}
    Grant.objects.update_or_create(**keys, defaults={right: True})


def json(value: Any) -> str:
    return orjson.dumps(value).decode()


def browser_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client
