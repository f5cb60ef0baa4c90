from django.urls import re_path

from traces import dashboard_urls, link_urls, views
from traces.pages import urls as pages
from traces.review import urls as review

app_name = "langserve_traces"

urlpatterns = [
    *link_urls.urlpatterns,
    *pages.urlpatterns,
    *dashboard_urls.urlpatterns,
    *review.urlpatterns,
    re_path(
        r"^(?:(?P<path>[^/].*?)/)??runs/(?P<run_id>[^/]+)/?$",
        views.RunView.as_view(),
        name="run",
    ),
]
