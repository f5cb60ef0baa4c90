"""
The whole site as one ASGI application, for uvicorn and daphne.
"""

import os

from runnables.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = get_asgi_application()
