"""
The site's settings, with what takes its time in tests' time.
"""

from project.settings import *  # noqa: F403
from project.settings import LANGSERVE as OF_THE_SITE

LANGSERVE = {**OF_THE_SITE, "ACCESS_CHECK_SECONDS": 0.5, "FIGURES_SECONDS": 0.5}
