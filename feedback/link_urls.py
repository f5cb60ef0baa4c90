"""
The door that shares a run by link, in a list of its own.
"""

from django.urls import re_path

from feedback.link_views import PublicTraceLinkView

urlpatterns = [
    re_path(
        r"^(?:(?P<path>[^/].*?)/)??public_trace_link/?$",
        PublicTraceLinkView.as_view(),
        name="public_trace_link",
    ),
]
