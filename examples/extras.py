"""
Packages that only some examples need. Without one, its example is left out and the log says what to install.
"""

import logging
from importlib.util import find_spec

logger = logging.getLogger(__name__)


def has_package(package: str, *, wanted_by: str, extra: str) -> bool:
    if find_spec(package) is not None:
        return True
    logger.warning(
        "%s needs the package %s, so its example is not served. Install it with: pip install 'django-langserve[%s]'",
        wanted_by,
        package.replace("_", "-"),
        extra,
    )
    return False
