"""
A callback handler that LangChain calls in the task that runs the step.
"""

from __future__ import annotations

import sys
from types import CodeType

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler


class InlineHandler(BaseCallbackHandler):
    """
    Without `run_inline` LangChain takes a task or a thread for each event.
    """

    @property
    def run_inline(self) -> bool:  # type: ignore[override]
        """
        Yes, but not when `AsyncCallbackManager.on_llm_start` asks: where one handler is inline
        it keeps the event from all that are not (langchain-core 1.8), and stream_events, the
        tracers and the site's own handlers would never hear of the model.
        """
        code = sys._getframe(1).f_code
        return code is not _asking and code is not _first and code is not _second


# In Python 3.11 its two comprehensions have code of their own.
_asking = AsyncCallbackManager.on_llm_start.__code__
_inner = [one for one in _asking.co_consts if isinstance(one, CodeType)]
_first, _second = (*_inner, None, None)[:2]
