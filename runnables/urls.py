"""
The same doors for Django's own resolver: the Django test client, `reverse()` and sites
that run Django's handler. `runnables.handler` does not ask it.
"""

from django.urls import path, re_path
from django.urls.resolvers import URLPattern

from runnables import openapi_views, token_views, views
from runnables.views import VIEWS, DeploymentView

app_name = "langserve"


def _patterns(endpoint: str, view: type[DeploymentView]) -> list[URLPattern]:
    base = r"^(?:(?P<path>[^/].*?)/)??"
    if endpoint == "cancel":
        return [
            re_path(
                rf"{base}runs/(?P<run_id>[^/]+)/cancel/?$",
                view.as_view(),
                name=endpoint,
            )
        ]
    return [
        re_path(
            rf"{base}c/(?P<config_hash>[^/]*)/{endpoint}/?$",
            view.as_view(),
            name=f"{endpoint}_with_config",
        ),
        re_path(rf"{base}{endpoint}/?$", view.as_view(), name=endpoint),
    ]


urlpatterns = [
    path("deployments/", views.DeploymentListView.as_view(), name="deployments"),
    path("tokens/", token_views.tokens, name="tokens"),
    path("tokens/<public_id>/revoke/", token_views.revoke, name="revoke_token"),
    re_path(r"^openapi\.json/?$", openapi_views.OpenApiView.as_view(), name="openapi"),
    re_path(r"^docs/?$", openapi_views.docs, name="docs"),
    *(pattern for endpoint, view in VIEWS.items() for pattern in _patterns(endpoint, view)),
]
