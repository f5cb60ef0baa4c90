from __future__ import annotations

from django.db import models
from django.utils import timezone


class CancelRequest(models.Model):
    """
    "Cancel this run", left for whichever process is running it.
    """

    run_id = models.UUIDField(primary_key=True)
    principal = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    done = models.BooleanField(default=False)

    def __str__(self) -> str:
        return str(self.run_id)
