"""
The pages of the admin: one module per noun.
"""

from runnables.admin import deployments, tokens

__all__ = ["deployments", "tokens"]
