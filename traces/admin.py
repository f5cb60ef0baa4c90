"""
What the admin shows of traces; each part registers its own.
"""

from traces.review import admin as review_admin

__all__ = ["review_admin"]
