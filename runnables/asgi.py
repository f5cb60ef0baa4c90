from __future__ import annotations

from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured


def get_asgi_application() -> Any:
    """
    The ASGI application of a site with `runnables` installed; for its `asgi.py`.

    Raises ImproperlyConfigured, naming each, if registrations are wrong.
    """
    django.setup(set_prefix=False)
    # What they import needs the app registry, which stands only now.
    from runnables.checks import registration_errors  # noqa: PLC0415
    from runnables.handler import LangServeHandler  # noqa: PLC0415

    if errors := registration_errors():
        listed = "\n".join(f"  {error.id}: {error.msg}" for error in errors)
        raise ImproperlyConfigured(f"Some runnables cannot be registered:\n{listed}")
    return LangServeHandler()
