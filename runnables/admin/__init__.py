"""
The pages of the admin: one module per noun.
"""

from runnables.admin import audit, deployments, history, tokens

__all__ = ["audit", "deployments", "history", "tokens"]
