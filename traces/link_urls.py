"""
Shared traces: the public page, and the pages of who shares.
"""

from django.urls import path

from traces import link_views

urlpatterns = [
    path("s/<str:token>/", link_views.shared, name="shared"),
    path("traces/links/", link_views.links, name="links"),
    path("traces/links/<int:pk>/revoke/", link_views.revoke_link, name="revoke_link"),
    path("traces/<uuid:run_id>/share/", link_views.share, name="share"),
]
