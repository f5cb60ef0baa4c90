"""
What makes a version is edited in three steps: the form, the diff that is confirmed, and,
when somebody saved meanwhile, a page that shows both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _

from runnables import trials, versions
from runnables.admin import drafts
from runnables.admin.canary_forms import ShareForm
from runnables.admin.configuration_form import ConfigurationForm, RawForm
from runnables.admin.drafts import Draft
from runnables.admin.pages import Page
from runnables.merging import collisions, merged
from runnables.models import DeploymentVersion
from runnables.versions import Outdated, differences


def configuration(page: Page) -> HttpResponse:
    """
    The form; what is sent is checked, kept as a draft and shown as a diff.
    """
    sent = page.request.POST if page.request.method == "POST" else page.request.GET
    draft = drafts.find(page.request, page.deployment, sent.get("draft", ""))
    base = _base(page, draft.based_on if draft else sent.get("based_on"))
    stored = draft.content if draft else base.content
    schema, why_not = _schema(page, stored)
    is_raw = schema is None or sent.get("mode") == "raw"
    data = sent if page.request.method == "POST" else None
    options: Any = {"deployment": page.deployment, "stored": stored, "may_change": page.may_change}
    form: RawForm | ConfigurationForm = (
        RawForm(data, **options)
        if is_raw or schema is None
        else ConfigurationForm(data, schema=schema, **options)
    )
    if data and form.is_valid():
        if differences(base.content, form.content):
            kept = drafts.keep(page.request, page.deployment, form.content, based_on=base.number)
            return page.go("configuration_confirm", query={"draft": kept.key})
        page.say(_("Nothing was changed, so there is nothing to save."), messages.WARNING)
    return page.show(
        "configuration.html",
        _("Configuration of %s") % page.deployment,
        form=form,
        is_raw=is_raw,
        has_form=schema is not None,
        why_not=why_not,
        base=base,
        draft=draft,
    )


def confirm(page: Page) -> HttpResponse:
    """
    The diff, why, and whom the new version answers.
    """
    page.require_change()
    draft = _draft(page)
    if draft is None:
        return _expired(page)
    if draft.based_on != page.current.number:
        return page.go("configuration_conflict", query={"draft": draft.key})
    is_trial = page.request.POST.get("how") == "canary"
    share = ShareForm(page.request.POST if is_trial else None)
    problems: list[str] = []
    if page.request.method == "POST" and (not is_trial or share.is_valid()):
        try:
            return _save(page, draft, share.cleaned_data if is_trial else None)
        except Outdated:
            return page.go("configuration_conflict", query={"draft": draft.key})
        except ValidationError as error:
            problems = error.messages
    return page.show(
        "configuration_confirm.html",
        _("Save this configuration?"),
        draft=draft,
        differences=differences(page.current.content, draft.content),
        share=share,
        problems=problems,
        note=page.request.POST.get("note", ""),
        canary=trials.running_now(page.deployment).select_related("version").first(),
    )


def conflict(page: Page) -> HttpResponse:
    """
    Somebody saved meanwhile: theirs and yours, and what to do about it.
    """
    page.require_change()
    draft = _draft(page)
    if draft is None:
        return _expired(page)
    if draft.based_on == page.current.number:
        return page.go("configuration_confirm", query={"draft": draft.key})
    base, theirs = _base(page, draft.based_on).content, page.current.content
    if page.request.method == "POST":
        # What was decided was decided on the version that the page showed.
        if page.request.POST.get("theirs") == str(page.current.number):
            return _resolve(page, draft, base)
        page.say(_("Yet another version was saved meanwhile."), messages.WARNING)
    return page.show(
        "configuration_conflict.html",
        _("Somebody saved a version meanwhile"),
        draft=draft,
        meanwhile=_saved_since(page, draft.based_on),
        their_changes=differences(base, theirs),
        my_changes=differences(base, draft.content),
        collisions=collisions(base, draft.content, theirs),
    )


def _saved_since(page: Page, number: int) -> QuerySet[DeploymentVersion]:
    """
    The versions that have answered everybody since this one: not those tried on some alone.
    """
    since = page.deployment.versions.filter(number__gt=number).select_related("created_by")
    return since.exclude(pk__in=trials.only_tried(page.deployment))


def _resolve(page: Page, draft: Draft, base: Mapping[str, Any]) -> HttpResponse:
    drafts.drop(page.request, draft)
    if page.request.POST.get("how") == "discard":
        page.say(_("Your changes were discarded."), messages.INFO)
        return page.go("configuration")
    theirs = page.current
    mine = page.request.POST.getlist("mine")
    content = merged(base, draft.content, theirs.content, prefer_mine=mine)
    if not differences(theirs.content, content):
        text = _("Version %d has all of it already: there is nothing to save.")
        page.say(text % theirs.number, messages.INFO)
        return page.go("configuration")
    kept = drafts.keep(page.request, page.deployment, content, based_on=theirs.number)
    return page.go("configuration_confirm", query={"draft": kept.key})


def _save(page: Page, draft: Draft, share: dict[str, Any] | None) -> HttpResponse:
    with transaction.atomic():
        version = versions.save_version(
            page.deployment,
            draft.content,
            by=page.request.user,
            based_on=draft.based_on,
            note=page.request.POST.get("note", "").strip(),
            make_current=share is None,
        )
        if share is not None:
            trials.start(page.deployment, version, by=page.request.user, **share)
    drafts.drop(page.request, draft)
    if share is None:
        text = _("Version %(number)d was saved and answers everybody.")
    else:
        text = _("Version %(number)d was saved and is tried on %(percent)g %% of the callers.")
    said = text % {"number": version.number, "percent": (share or {}).get("percent", 100)}
    page.say(said, messages.SUCCESS)
    return page.go("versions" if share is None else "canary")


def _draft(page: Page) -> Draft | None:
    sent = page.request.POST if page.request.method == "POST" else page.request.GET
    return drafts.find(page.request, page.deployment, sent.get("draft", ""))


def _expired(page: Page) -> HttpResponse:
    text = _("This draft is gone: it was saved, or it was made in another session.")
    page.say(text, messages.WARNING)
    return page.go("configuration")


def _base(page: Page, number: Any) -> DeploymentVersion:
    """
    The version that a change is made from: the current one, unless the form says which.
    """
    if number in (None, ""):
        return page.current
    if not str(number).isdecimal() or len(str(number)) > 9:
        raise Http404
    return page.version(int(number))


def _schema(page: Page, content: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """
    The schema of the form; or None and why there is no form, in words.
    """
    served, error = versions.build(page.deployment, content)
    try:
        if served:
            return served.schemas.whole_config_schema, ""
    except Exception as drawing:  # noqa: BLE001 - whatever a runnable raises is the finding
        error = drawing
    if page.request.user.is_superuser:
        return None, f"{type(error).__name__}: {error}"
    return None, _("The server's log says why.")
