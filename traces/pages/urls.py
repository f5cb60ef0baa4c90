from django.urls import path

from traces.pages import bulk, payloads, trace_detail, trace_list

urlpatterns = [
    path("traces/", trace_list.traces, name="list"),
    path("traces/export/", bulk.export, name="export"),
    path("traces/delete/", bulk.delete, name="delete"),
    path("traces/<uuid:run_id>/", trace_detail.trace, name="detail"),
    path("traces/<uuid:run_id>/payload/<uuid:node>/<str:part>/", payloads.payload, name="payload"),
]
