"""
The doors of feedback below each deployment; Django's resolver finds them.
"""

from django.urls import re_path

from feedback import link_urls, pages, views

app_name = "langserve_feedback"

BASE = r"^(?:(?P<path>[^/].*?)/)??"
UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

urlpatterns = [
    *link_urls.urlpatterns,
    re_path(rf"{BASE}feedback/?$", views.FeedbackView.as_view(), name="feedback"),
    re_path(rf"{BASE}feedback/export/?$", views.FeedbackExportView.as_view(), name="export"),
    re_path(rf"{BASE}feedback/rate/?$", pages.rate, name="rate"),
    re_path(
        rf"{BASE}feedback/(?P<feedback_id>{UUID})/?$",
        views.FeedbackItemView.as_view(),
        name="feedback_item",
    ),
    re_path(rf"{BASE}token_feedback/?$", views.TokenFeedbackView.as_view(), name="token_feedback"),
]
