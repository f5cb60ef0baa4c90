"""
The versions of a deployment: all of them, one with what it changed, and the way back to it.
"""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.utils.translation import gettext as _

from runnables import trials, versions
from runnables.admin.pages import Page
from runnables.admin.version_rows import one_before, rows_of
from runnables.masking import masked
from runnables.models import DeploymentVersion
from runnables.schema_forms import json_text
from runnables.versions import Outdated, differences

PER_PAGE = 50


def all_versions(page: Page) -> HttpResponse:
    found = page.deployment.versions.select_related("created_by")
    shown = Paginator(found, PER_PAGE).get_page(page.request.GET.get("p"))
    return page.show(
        "versions.html",
        _("Versions of %s") % page.deployment,
        shown=shown,
        rows=rows_of(page.deployment, list(shown.object_list)),
    )


def one_version(page: Page, number: int) -> HttpResponse:
    version = page.version(number)
    before = one_before(page.deployment, version, trials.only_tried(page.deployment))
    return page.show(
        "version.html",
        _("Version %(number)d of %(name)s") % {"number": number, "name": page.deployment},
        version=version,
        before=before,
        changes=differences(before.content, version.content) if before else None,
        against_current=differences(page.current.content, version.content),
        content=json_text(masked(version.content)),
    )


def roll_back(page: Page, number: int) -> HttpResponse:
    """
    The diff, and a new version with the content of an old one.
    """
    page.require_change()
    old = page.version(number)
    meanwhile, problems = None, []
    if page.request.method == "POST":
        based_on = page.request.POST.get("based_on", "")
        try:
            made = versions.roll_back(
                page.deployment,
                number,
                by=page.request.user,
                based_on=int(based_on) if based_on.isdecimal() else -1,
                note=page.request.POST.get("note", "").strip(),
            )
            return _rolled_back(page, made)
        except Outdated as error:
            meanwhile = error.current
        except ValidationError as error:
            problems = error.messages
    current = meanwhile or page.current
    return page.show(
        "roll_back.html",
        _("Roll back to version %d?") % number,
        version=old,
        current=current,
        meanwhile=meanwhile,
        problems=problems,
        note=page.request.POST.get("note", ""),
        differences=differences(current.content, old.content),
    )


def _rolled_back(page: Page, made: DeploymentVersion) -> HttpResponse:
    text = _("Version %(number)d answers everybody, with the content of version %(old)d.")
    page.say(text % {"number": made.number, "old": made.copy_of}, messages.SUCCESS)
    return page.go("versions")
