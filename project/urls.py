from django.contrib import admin
from django.urls import include, path

# Here instead of at start-up: a process that serves programs alone never loads the admin.
admin.autodiscover()

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/", include("runnables.account_urls")),
    path("", include("feedback.urls")),
    path("", include("traces.urls")),
    path("", include("runnables.urls")),
]

handler404 = "runnables.views.not_found"
