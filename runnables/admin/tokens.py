from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from runnables.conf import conf
from runnables.models import ApiToken

if TYPE_CHECKING:
    TokenModelAdmin = admin.ModelAdmin[ApiToken]
else:  # Django's own class takes no subscript at run time.
    TokenModelAdmin = conf.admin_base


@admin.register(ApiToken)
class ApiTokenAdmin(TokenModelAdmin):
    list_display = ("__str__", "user", "token_key", "created", "expiry", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("name", "token_key")
    fields = ("name", "user", "token_key", "scopes", "created", "expiry", "last_used_at")
    readonly_fields = ("user", "token_key", "scopes", "created", "last_used_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        # The token itself can be shown only once: `langserve token create` does.
        return False
