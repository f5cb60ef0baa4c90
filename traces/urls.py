from traces import link_urls

app_name = "langserve_traces"

urlpatterns = [*link_urls.urlpatterns]
