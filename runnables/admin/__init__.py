"""
The pages of the admin: one module per noun.
"""

from runnables.admin import audit, deployments, tokens

__all__ = ["audit", "deployments", "tokens"]
