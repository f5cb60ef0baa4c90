"""
`uvicorn serve:application` in LangServe's environment.
"""

import runnables
import tests.served  # noqa: F401 - it registers

application = runnables.application
