"""
The subjects served by us: `RUNNABLES_MODULES=benchmarks.served`.
"""

from benchmarks import subjects
from runnables import register

register("trivial", subjects.trivial, access="public")
register("trivial_sync", subjects.trivial_sync, access="public")
register("chain", subjects.chain, access="public")
# Not `tokens`: that is a page of the site.
register("words", subjects.tokens, access="public")
# What a token or a session costs is the difference between this one and `trivial`.
register("trivial_private", subjects.trivial, access="authenticated")
