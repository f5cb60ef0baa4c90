from django.urls import re_path

from traces import dashboard_urls, link_urls, views
from traces.pages import urls as pages

app_name = "langserve_traces"

urlpatterns = [
    *link_urls.urlpatterns,
    *pages.urlpatterns,
    *dashboard_urls.urlpatterns,
    re_path(
        r"^(?:(?P<path>[^/].*?)/)??runs/(?P<run_id>[^/]+)/?$",
        views.RunView.as_view(),
        name="run",
    ),
]
