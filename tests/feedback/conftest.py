from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from runnables.identity import principal_of
from runnables.models import Deployment
from tests.conftest import Site
from tests.fakes import echo
from traces.models import Step, Trace

TOKENS = {"key_configs": [{"key": "correctness"}]}


@pytest.fixture
def rated(site: Site) -> Deployment:
    """
    A public deployment that takes feedback and gives out tokens.
    """
    return site.serve("it", echo(), enable_feedback_endpoint=True, token_feedback_config=TOKENS)


def made_run(deployment: Deployment, user: Any = None, **fields: Any) -> Trace:
    """
    A run that is recorded, as its writer leaves it.
    """
    return Trace.objects.create(
        id=uuid4(),
        deployment=deployment,
        deployment_name=deployment.name,
        endpoint="invoke",
        user=user,
        principal=principal_of(user) if user else "",
        state="done",
        started_at=timezone.now(),
        **{"input": '"question"', "output": '"answer"', **fields},
    )


def made_step(trace: Trace, **fields: Any) -> Step:
    return Step.objects.create(
        id=uuid4(),
        trace=trace,
        parent=trace.pk,
        position=1,
        kind="llm",
        state="done",
        **{"input": '"to the model"', "output": '"of the model"', **fields},
    )
