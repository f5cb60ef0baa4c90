"""
Addresses of a deployment's doors.
"""

from __future__ import annotations

from django.urls import get_script_prefix

from runnables.conf import conf


def below(path: str, name: str) -> str:
    """
    Where the door of this name of the deployment at this path is, on this host.
    """
    return get_script_prefix() + "/".join(part for part in (conf.prefix, path, name) if part)
