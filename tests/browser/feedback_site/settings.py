"""
The site, with one more page: `/run/{run_id}/`, where a run can be rated.
"""

from pathlib import Path
from typing import Any

from project.settings import *  # noqa: F403
from project.settings import TEMPLATES

ROOT_URLCONF = "tests.browser.feedback_site.urls"
_engine: dict[str, Any] = TEMPLATES[0]
TEMPLATES = [{**_engine, "DIRS": [*_engine["DIRS"], Path(__file__).parent / "templates"]}]
