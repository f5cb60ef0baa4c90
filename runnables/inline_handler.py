"""
A callback handler that LangChain calls in the task that runs the step.
"""

from __future__ import annotations

import sys

from langchain_core.callbacks import BaseCallbackHandler


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
        asking = sys._getframe(1)
        above = asking.f_back  # in Python 3.11 a comprehension has a frame of its own
        return asking.f_code.co_name != _BROKEN and not (above and above.f_code.co_name == _BROKEN)


_BROKEN = "on_llm_start"
