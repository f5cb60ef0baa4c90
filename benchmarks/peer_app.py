"""
The subjects served by LangServe, as its documentation has it. Runs in the peer's environment only.
"""

from fastapi import FastAPI  # type: ignore[import-not-found]
from langserve import add_routes

from benchmarks import subjects

application = FastAPI()
add_routes(application, subjects.trivial, path="/trivial")
add_routes(application, subjects.trivial_sync, path="/trivial_sync")
add_routes(application, subjects.chain, path="/chain")
add_routes(application, subjects.tokens, path="/words")
