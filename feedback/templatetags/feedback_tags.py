"""
What `feedback/_feedback.html` asks the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import template
from django.urls import reverse

from feedback.keys import asked_at
from feedback.models import Feedback, FeedbackKey
from feedback.services import author_of

register = template.Library()


@dataclass(frozen=True, slots=True)
class Box:
    """
    The thumbs of one run, for one person.
    """

    url: str
    key: FeedbackKey
    current: Feedback | None
    next: str

    @property
    def is_good(self) -> bool:
        return self.current is not None and self.current.score == 1

    @property
    def is_bad(self) -> bool:
        return self.current is not None and self.current.score == 0

    @property
    def score(self) -> str:
        """
        What was said, as a form sends it.
        """
        return "1" if self.is_good else "0" if self.is_bad else ""

    @property
    def comment(self) -> str:
        return self.current.comment if self.current else ""

    @property
    def correction(self) -> str:
        found = self.current.correction if self.current else None
        return found if isinstance(found, str) else ""

    @property
    def reasons(self) -> list[tuple[str, bool]]:
        """
        What may be wrong, and whether it was chosen.
        """
        mine = self.current.reasons if self.current else []
        return [(reason, reason in mine) for reason in self.key.reasons]


@register.simple_tag(takes_context=True)
def feedback_box(
    context: Any,
    run_id: Any,
    deployment_path: str | None,
    current: Feedback | None = None,
    key: str = "",
    readonly: bool = False,
) -> Box | None:
    """
    None for who has not signed in, where there is nobody to say it, and where the
    deployment is gone.
    """
    request = context.get("request")
    if deployment_path is None or request is None or not request.user.is_authenticated:
        return None
    path = deployment_path.strip("/")
    arguments = {"path": path} if path else {}
    asked = asked_at(path, key)
    if not current and not readonly:
        mine = author_of(request.user).name
        current = Feedback.objects.filter(run_id=run_id, key=asked.key, author=mine).first()
    return Box(
        url=reverse("langserve_feedback:rate", kwargs=arguments),
        key=asked,
        current=current or None,
        next=request.get_full_path(),
    )
