"""
Headers of a signed-in browser. Runs inside `manage.py shell`, where Django is set up.
"""

import json
import sys

from django.conf import settings
from django.contrib.auth import get_user_model
from django.middleware.csrf import CSRF_SECRET_LENGTH
from django.test import Client
from django.utils.crypto import get_random_string


def print_session_headers(username: str) -> None:
    user, _ = get_user_model().objects.get_or_create(username=username)
    browser = Client()
    browser.force_login(user)
    session = browser.cookies[settings.SESSION_COOKIE_NAME].value
    csrf = get_random_string(CSRF_SECRET_LENGTH)
    cookies = f"{settings.SESSION_COOKIE_NAME}={session}; {settings.CSRF_COOKIE_NAME}={csrf}"
    sys.stdout.write(json.dumps({"Cookie": cookies, "X-CSRFToken": csrf}) + "\n")
