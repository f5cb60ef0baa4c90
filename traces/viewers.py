"""
Who may see which traces, and how much of them: asked by every page, door and command.

Everybody sees the runs they made, whole. Of others' runs a deployment's rights tell:
`see_traces` what they did, `see_payloads` what they were given and said, `share`, `review`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.db.models import Q, QuerySet

from runnables.identity import groups_of, principal_of
from runnables.models import Deployment
from runnables.permissions import EVERYTHING, NOTHING, Permissions
from traces.models import Trace


class Viewer:
    """
    One user as they look at traces; three queries, once. Inactive users see nothing.
    """

    def __init__(self, user: Any) -> None:
        self.user = user

    @cached_property
    def rights(self) -> dict[int, Permissions]:
        """
        What they may do with each deployment, by primary key.
        """
        if not self.user.is_authenticated or not self.user.is_active:
            return {}
        groups = groups_of(self.user)
        rows = Deployment.objects.prefetch_related("grants")
        return {row.pk: row.matrix.permissions(self.user, groups) for row in rows}

    @cached_property
    def principal(self) -> str:
        """
        Theirs as a caller; empty for who has not signed in, whom nothing belongs to.
        """
        return principal_of(self.user)

    def deployments_with(self, right: str) -> list[int]:
        return [pk for pk, may in self.rights.items() if right in may]

    def traces(self) -> QuerySet[Trace]:
        """
        Those they may see.
        """
        if not self.user.is_authenticated or not self.user.is_active:
            return Trace.objects.none()
        if self.user.is_superuser:
            return Trace.objects.all()
        theirs = Q(principal=self.principal)
        return Trace.objects.filter(theirs | Q(deployment__in=self.deployments_with("see_traces")))

    def made(self, trace: Trace) -> bool:
        return bool(self.principal) and trace.principal == self.principal

    def may(self, right: str, trace: Trace) -> bool:
        """
        Whether they have this right at the trace's deployment.
        """
        # Of a deployment that no row knows, only superusers have rights.
        everything = EVERYTHING if self.user.is_superuser else NOTHING
        pk = trace.deployment_id
        return right in (everything if pk is None else self.rights.get(pk, everything))

    def may_see_payloads(self, trace: Trace) -> bool:
        return self.made(trace) or self.may("see_payloads", trace)
