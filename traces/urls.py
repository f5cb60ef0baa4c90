from traces.review.urls import urlpatterns as review_urls

app_name = "langserve_traces"

urlpatterns = [*review_urls]
