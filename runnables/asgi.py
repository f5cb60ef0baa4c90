from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern


def get_asgi_application(routes: Sequence[URLPattern] = ()) -> Any:
    """
    The ASGI application of a site with `runnables` installed; for its `asgi.py`. `routes`
    are streams of its own: `[path("mine/stream", MyStream.as_asgi())]`.

    Raises ImproperlyConfigured, naming each, if registrations are wrong.
    """
    django.setup(set_prefix=False)
    # What they import needs the app registry, which stands only now.
    from runnables.checks import registration_errors  # noqa: PLC0415
    from runnables.handler import LangServeHandler  # noqa: PLC0415

    if errors := registration_errors():
        listed = "\n".join(f"  {error.id}: {error.msg}" for error in errors)
        raise ImproperlyConfigured(f"Some runnables cannot be registered:\n{listed}")
    return LangServeHandler(routes)
