"""
Serve LangChain runnables from a Django site.

    from runnables import register

    register("joke", prompt | model, access="public")
"""

from runnables.exceptions import PublicError
from runnables.registry import register
from runnables.types import CustomUserType

__all__ = ["CustomUserType", "PublicError", "register"]
__version__ = "0.1.0"
