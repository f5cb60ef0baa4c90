from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import path

from feedback.models import Feedback
from feedback.services import author_of
from project.urls import handler404, urlpatterns
from runnables.pages import page

__all__ = ["handler404", "urlpatterns"]


@page
@login_required
def run(request: HttpRequest, run_id: UUID) -> HttpResponse:
    mine = Feedback.objects.filter(run_id=run_id, author=author_of(request.user).name)
    return render(request, "run.html", {"run_id": run_id, "current": mine.first()})


def _run(request: HttpRequest, run_id: UUID) -> HttpResponseBase:
    return run(request, run_id=run_id)


urlpatterns = [path("run/<uuid:run_id>/", _run), *urlpatterns]  # type: ignore[list-item]
