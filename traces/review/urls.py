from django.urls import path

from traces.review import views

urlpatterns = [
    path("review/", views.queues, name="review_list"),
    path("review/add/", views.add, name="review_add"),
    path("review/<slug:slug>/", views.review, name="review"),
    path("review/<slug:slug>/results/", views.results, name="review_results"),
    path("review/<slug:slug>/results/export/", views.export, name="review_export"),
]
