"""
Ids of runs: UUIDs of version 7, so that what is stored under them lies in the order of time.
"""

from __future__ import annotations

import os
import time
from uuid import UUID

_VERSION_AND_VARIANT = (7 << 76) | (2 << 62)
_RANDOM = ~((15 << 76) | (3 << 62)) & ((1 << 80) - 1)


def new_run_id() -> UUID:
    """
    A new one. All but its time is random: for a run made anonymously, knowing its id is the
    right to it, and LangChain's own counts upwards within a millisecond.
    """
    random = int.from_bytes(os.urandom(10)) & _RANDOM
    return UUID(int=(time.time_ns() // 1_000_000) << 80 | _VERSION_AND_VARIANT | random)
