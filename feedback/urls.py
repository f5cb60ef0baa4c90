from feedback import link_urls

app_name = "langserve_feedback"

urlpatterns = [*link_urls.urlpatterns]
