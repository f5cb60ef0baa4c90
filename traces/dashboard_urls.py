"""
The dashboard's page, and the numbers for Prometheus.
"""

from django.urls import path, re_path

from traces import dashboard_views
from traces.metrics_view import MetricsView

urlpatterns = [
    path("dashboard/", dashboard_views.dashboard, name="dashboard"),
    re_path(r"^metrics/?$", MetricsView.as_view(), name="metrics"),
]
