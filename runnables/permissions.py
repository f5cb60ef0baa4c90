"""
What an audience may be allowed to do with a deployment: its access matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext_lazy as _

Permissions = frozenset[str]

# Name -> what it lets somebody do, for the admin and for error messages.
PERMISSIONS = {
    "run": _("call it"),
    "playground": _("open its playground and chat pages"),
    "override_config": _("set its configurable fields"),
    "pin_version": _("choose the version that answers"),
    "see_traces": _("see what others' runs did"),
    "see_payloads": _("see what others' runs were given and said"),
    "share": _("share traces by link"),
    "review": _("review answers"),
}
# Whoever may call it may do these as well, unless staff say otherwise.
OF_CALLERS = ("run", "playground", "override_config")
EVERYTHING = frozenset(PERMISSIONS)
NOTHING: Permissions = frozenset()


@dataclass(frozen=True, slots=True)
class Matrix:
    """
    What each audience of one deployment may do. Keys of `groups` and `users` are theirs.
    """

    public: Permissions = NOTHING
    authenticated: Permissions = NOTHING
    staff: Permissions = NOTHING
    groups: Mapping[Any, Permissions] = field(default_factory=dict)
    users: Mapping[Any, Permissions] = field(default_factory=dict)

    @classmethod
    def of(cls, grants: Iterable[Any]) -> Matrix:
        """
        Rows of Grant as one matrix.
        """
        wide: dict[str, Permissions] = {}
        groups: dict[Any, Permissions] = {}
        users: dict[Any, Permissions] = {}
        for grant in grants:
            if grant.group_id is not None:
                groups[grant.group_id] = grant.permissions
            elif grant.user_id is not None:
                users[grant.user_id] = grant.permissions
            else:
                wide[grant.audience] = grant.permissions
        return cls(**wide, groups=groups, users=users)

    def permissions(self, user: Any, groups: Mapping[Any, str]) -> Permissions:
        """
        All that this user of these groups may do.
        """
        return frozenset().union(*self.by_audience(user, groups).values())

    def by_audience(self, user: Any, groups: Mapping[Any, str]) -> dict[Any, Permissions]:
        """
        The same, told apart by what it comes from: a word, or the key of a group out of
        `groups`, which are the user's by key.
        """
        if not user.is_authenticated:
            return {"public": self.public}
        found: dict[Any, Permissions] = {
            "public": self.public,
            "authenticated": self.authenticated,
            "staff": self.staff if user.is_staff else NOTHING,
            "user": self.users.get(user.pk, NOTHING),
            **{pk: self.groups[pk] for pk in groups if pk in self.groups},
            # A view of one's own names its groups.
            **{pk: self.groups[name] for pk, name in groups.items() if name in self.groups},
        }
        return {**found, "superuser": EVERYTHING} if user.is_superuser else found

    @property
    def audience(self) -> str:
        """
        The widest audience that may call: public, authenticated, staff, groups or nobody.
        """
        for name in ("public", "authenticated", "staff"):
            if "run" in getattr(self, name):
                return name
        narrow = any("run" in may for may in (*self.groups.values(), *self.users.values()))
        return "groups" if narrow else "nobody"
