"""
A trace as one viewer sees it: templates ask this, and never the row, for what may be hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest

from traces.models import Trace
from traces.pages.marks import Mark
from traces.viewers import Viewer

DELETE = "langserve_traces.delete_trace"


@dataclass(frozen=True, slots=True)
class SeenTrace:
    row: Trace
    shows_payloads: bool
    marks: list[Mark] = field(default_factory=list)

    @property
    def input(self) -> str:
        return self._preview(self.row.input_preview, self.row.input_shape)

    @property
    def output(self) -> str:
        return self._preview(self.row.output_preview, self.row.output_shape)

    @property
    def is_shape(self) -> bool:
        """
        Whether what stands for input and output is their shape.
        """
        return not self.shows_payloads or self.row.kept == Trace.Kept.SHAPE

    @property
    def tokens(self) -> int | None:
        parts = [self.row.input_tokens, self.row.output_tokens]
        known = [part for part in parts if part is not None]
        return sum(known) if known else None

    @property
    def run_name(self) -> str:
        """
        The runnable's, where that says more than the deployment's.
        """
        return "" if self.row.name == self.row.deployment_name else self.row.name

    def _preview(self, preview: str, shape: str) -> str:
        return shape if self.is_shape else preview


def seen(row: Trace, viewer: Viewer, marks: list[Mark] | None = None) -> SeenTrace:
    return SeenTrace(row, viewer.may_see_payloads(row), marks or [])


def may_delete(request: HttpRequest, viewer: Viewer, row: Trace) -> bool:
    """
    Of those that the viewer sees: their own, and all with Django's permission.
    """
    user: Any = request.user
    return viewer.made(row) or user.has_perm(DELETE)
