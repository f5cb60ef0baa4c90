from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.urls import URLPattern

from runnables.admin import canary_pages, configuration_pages, version_pages
from runnables.admin.pages import route


def version_urls(admin: ModelAdmin[Any]) -> list[URLPattern]:
    """
    The pages below a deployment for what makes its versions.
    """
    edit = "configuration/"
    return [
        route(admin, edit, "configuration", configuration_pages.configuration),
        route(admin, f"{edit}confirm/", "configuration_confirm", configuration_pages.confirm),
        route(admin, f"{edit}conflict/", "configuration_conflict", configuration_pages.conflict),
        route(admin, "versions/", "versions", version_pages.all_versions),
        route(admin, "versions/<int:number>/", "version", version_pages.one_version),
        route(admin, "versions/<int:number>/roll-back/", "roll_back", version_pages.roll_back),
        route(admin, "canary/", "canary", canary_pages.canary),
        route(admin, "canary/promote/", "canary_promote", canary_pages.promote),
        route(admin, "canary/stop/", "canary_stop", canary_pages.stop),
    ]
