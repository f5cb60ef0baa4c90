from __future__ import annotations

from typing import ClassVar

from django.db import models

from runnables.models.deployment import Deployment


class QuotaUse(models.Model):
    """
    How many runs one caller has started on one day at one deployment.
    """

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="+")
    # The principal of a user, the address of an anonymous caller.
    caller = models.CharField(max_length=100)
    day = models.DateField(db_index=True)
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="langserve_quota_once", fields=["deployment", "caller", "day"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.caller} {self.day}: {self.count}"
