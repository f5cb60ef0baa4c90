"""
The pages of the admin: one module per noun.
"""

from runnables.admin import deployments, history, tokens

__all__ = ["deployments", "history", "tokens"]
