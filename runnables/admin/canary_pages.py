"""
Trials of a version: start one, change its share, promote it or stop it.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.utils.translation import gettext as _

from runnables import trials
from runnables.admin.canary_forms import PercentForm, StartForm
from runnables.admin.pages import Page
from runnables.models import Canary
from runnables.trials import NoCanary
from runnables.versions import Outdated, differences

PAST = 20


def canary(page: Page) -> HttpResponse:
    """
    The trial that goes on, or the form that starts one; and those that are over.
    """
    running = trials.running_now(page.deployment).select_related("version", "started_by").first()
    what = page.request.POST.get("what", "")
    wanted = page.request.GET.get("version", "")
    start = StartForm(
        page.request.POST if what == "start" else None,
        deployment=page.deployment,
        initial={"percent": 10, "version": _wanted(page, wanted)},
    )
    share = PercentForm(page.request.POST if what == "share" else None, instance=running)
    if what == "start" and start.is_valid() and _start(page, start):
        return page.go("canary")
    if what == "share" and running and share.is_valid():
        return _change_share(page, running, share.cleaned_data["percent"])
    past = Canary.objects.filter(deployment=page.deployment).exclude(outcome="running")
    return page.show(
        "canary.html",
        _("Canary of %s") % page.deployment,
        canary=running,
        start=start,
        share=share,
        has_others=page.deployment.versions.exclude(pk=page.current.pk).exists(),
        past=past.select_related("version", "started_by")[:PAST],
    )


def promote(page: Page) -> HttpResponse:
    """
    The diff, and the version on trial answers everybody.
    """
    page.require_change()
    running = _expected(page)
    if running is None:
        return _ended(page)
    sent = page.request.POST
    if page.request.method == "POST":
        number = int(sent["instead_of"]) if sent.get("instead_of", "").isdecimal() else -1
        try:
            version = trials.promote(
                page.deployment, by=page.request.user, canary=running, instead_of=number
            )
        except NoCanary:
            return _ended(page)
        except Outdated as error:
            text = _("Version %d was saved meanwhile. Look at the difference again.")
            page.say(text % error.current.number, messages.WARNING)
            return page.go("canary_promote")
        page.say(_("Version %d answers everybody now.") % version.number, messages.SUCCESS)
        return page.go("canary")
    return page.show(
        "canary_promote.html",
        _("Promote version %d?") % running.version.number,
        canary=running,
        differences=differences(page.current.content, running.version.content),
    )


def stop(page: Page) -> HttpResponse:
    page.require_change()
    running = _expected(page)
    if running is None:
        return _ended(page)
    if page.request.method == "POST":
        why = page.request.POST.get("why", "").strip()[:300]
        try:
            trials.stop(page.deployment, by=page.request.user, canary=running, why=why)
        except NoCanary:
            return _ended(page)
        text = _("Version %d is not tried any more.")
        page.say(text % running.version.number, messages.SUCCESS)
        return page.go("canary")
    title = _("Stop the trial of version %d?") % running.version.number
    return page.show("canary_stop.html", title, canary=running)


def _start(page: Page, form: StartForm) -> bool:
    values: dict[str, Any] = dict(form.cleaned_data)
    version = values.pop("version")
    try:
        trials.start(page.deployment, version, by=page.request.user, **values)
    except ValidationError as error:
        form.add_error(None, error.messages)
        return False
    text = _("Version %(number)d is tried on %(percent)g %% of the callers.")
    said = text % {"number": version.number, "percent": values["percent"]}
    page.say(said, messages.SUCCESS)
    return True


def _change_share(page: Page, running: Canary, percent: float) -> HttpResponse:
    # The form has written its percent into its instance: the core compares with the row's.
    running.refresh_from_db()
    try:
        trials.change_share(running, percent=percent, by=page.request.user)
    except NoCanary:
        return _ended(page)
    text = _("Version %(number)d is tried on %(percent)g %% of the callers.")
    page.say(text % {"number": running.version.number, "percent": percent}, messages.SUCCESS)
    return page.go("canary")


def _wanted(page: Page, number: str) -> Any:
    if not number.isdecimal() or len(number) > 9:
        return None
    return page.deployment.versions.filter(number=int(number)).first()


def _expected(page: Page) -> Canary | None:
    """
    The trial that goes on; when a form was sent, only if it is still the one it was about.
    """
    running = trials.running_now(page.deployment).select_related("version", "deployment").first()
    sent = page.request.POST.get("canary")
    is_other = page.request.method == "POST" and running and sent != str(running.pk)
    return None if is_other else running


def _ended(page: Page) -> HttpResponse:
    page.say(_("This trial is over already."), messages.WARNING)
    return page.go("canary")
