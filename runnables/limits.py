"""
How much one caller may have of a deployment: calls a minute, runs a day, runs at a time.

Nothing here costs a call anything until staff set a limit. Calls a minute are counted in
Django's cache (shared by all processes with Redis), runs a day exactly in the database,
runs at a time in this process.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING

from django.core.cache import cache
from django.db.models import F
from django.utils import timezone

from runnables import database
from runnables.exceptions import QueueFull, QuotaExceeded, RateLimited
from runnables.models import QuotaUse

if TYPE_CHECKING:
    from runnables.identity import CallerRequest
    from runnables.served import ServedDeployment

MINUTE = 60
LONGEST_WAIT_TOLD = 60.0


async def count_call(deployment: ServedDeployment, caller: CallerRequest) -> None:
    """
    Count one call against the caller's minute; raises RateLimited.
    """
    limits = deployment.limits
    signed_in = bool(caller.principal)
    limit = limits.requests_per_minute if signed_in else limits.anonymous_requests_per_minute
    if limit is None:
        return
    key = f"langserve:rate:{deployment.pk}:{caller_key(caller)}"
    wait = await database.query(lambda: _hit(key, limit, time.time()))
    if wait is not None:
        raise RateLimited(
            f"This deployment takes {limit} calls a minute from one caller.", retry_after=wait
        )


async def use_quota(deployment: ServedDeployment, caller: CallerRequest, runs: int) -> None:
    """
    Take so many runs off the caller's day, all or none; raises QuotaExceeded.
    """
    limit = deployment.limits.daily_quota
    if limit is None or deployment.pk is None:
        return
    who, today, pk = caller_key(caller), timezone.localdate(), deployment.pk
    if not await database.query(lambda: _take(pk, who, today, runs, limit)):
        raise QuotaExceeded(
            f"This deployment takes {limit} runs a day from one caller.",
            retry_after=_seconds_to_midnight(),
        )


async def give_back(deployment: ServedDeployment, caller: CallerRequest, runs: int) -> None:
    """
    Undo `use_quota` for runs that never began.
    """
    if deployment.limits.daily_quota is None or deployment.pk is None:
        return
    used = QuotaUse.objects.filter(
        deployment=deployment.pk,
        caller=caller_key(caller),
        day=timezone.localdate(),
        count__gte=runs,
    )
    await database.query(lambda: used.update(count=F("count") - runs))


def caller_key(caller: CallerRequest) -> str:
    return caller.principal or f"@{caller.address}"


@asynccontextmanager
async def place_in_line(
    deployment: ServedDeployment, runs: int, waiting: Callable[[int], None] | None = None
) -> AsyncIterator[None]:
    """
    Within it `runs` of the deployment's runs at a time are the caller's; until then it waits,
    first come first served. `waiting` hears how many are ahead, each time that changes.
    Raises QueueFull.
    """
    limit = deployment.limits.max_concurrent_runs
    if limit is None:
        yield
        return
    line = _lines.setdefault(deployment.name, Line())
    line.deployment = deployment.pk
    runs = min(runs, limit)
    await line.enter(runs, limit, deployment.limits.max_queued_runs, waiting)
    began = time.monotonic()
    try:
        yield
    finally:
        line.leave(runs, time.monotonic() - began)


def waiting() -> dict[int, int]:
    """
    Runs that wait for their turn in this process, by the deployment's primary key.
    """
    lines = [(line.deployment, line.waiting) for line in list(_lines.values())]
    return {pk: runs for pk, runs in lines if pk is not None and runs}


class Line:
    """
    The runs of one deployment in this process, and those who wait for their turn.
    """

    def __init__(self) -> None:
        self.deployment: int | None = None
        self.running = 0
        self._limit = 1
        self._waiting: deque[_Waiting] = deque()
        self._lock = Lock()
        self._seconds = 1.0

    async def enter(
        self, runs: int, limit: int, max_queued: int, waiting: Callable[[int], None] | None
    ) -> None:
        with self._lock:
            self._limit = limit
            if not self._waiting and self.running + runs <= limit:
                self.running += runs
                return
            if len(self._waiting) >= max_queued:
                raise QueueFull(
                    f"{self.running} runs are going on, and {len(self._waiting)} wait already.",
                    retry_after=self._wait_told(),
                )
            place = _Waiting(runs, waiting)
            self._waiting.append(place)
            place.tell(len(self._waiting) - 1)
        try:
            await place.turn
        except asyncio.CancelledError:
            self._give_up(place)
            raise

    @property
    def waiting(self) -> int:
        with self._lock:
            return sum(place.runs for place in self._waiting)

    def leave(self, runs: int, seconds: float) -> None:
        with self._lock:
            self.running -= runs
            self._seconds += (seconds - self._seconds) / 8
            self._call_next()

    def _give_up(self, place: _Waiting) -> None:
        with self._lock:
            if place in self._waiting:
                self._waiting.remove(place)
            else:
                # Its turn had come in the same moment.
                self.running -= place.runs
            self._call_next()

    def _call_next(self) -> None:
        moved = False
        while self._waiting and self.running + self._waiting[0].runs <= self._limit:
            place = self._waiting.popleft()
            self.running += place.runs
            place.call()
            moved = True
        if moved:
            for ahead, place in enumerate(self._waiting):
                place.tell(ahead)

    def _wait_told(self) -> float:
        turns = (len(self._waiting) + 1) / self._limit
        return min(max(1.0, self._seconds * turns), LONGEST_WAIT_TOLD)


class _Waiting:
    """
    One place in a line. The line may be moved from another loop or thread.
    """

    def __init__(self, runs: int, waiting: Callable[[int], None] | None) -> None:
        self.runs = runs
        self._loop = asyncio.get_running_loop()
        self._waiting = waiting
        self.turn: asyncio.Future[None] = self._loop.create_future()

    def call(self) -> None:
        self._loop.call_soon_threadsafe(self._come)

    def tell(self, ahead: int) -> None:
        if self._waiting:
            self._loop.call_soon_threadsafe(self._waiting, ahead)

    def _come(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)


_lines: dict[str, Line] = {}


def _hit(key: str, limit: int, now: float) -> float | None:
    """
    Count a call, or the seconds until there is room for it: the last minute's calls weigh
    in by how much of that minute is still less than a minute ago.
    """
    minute, passed = divmod(now, MINUTE)
    this, last = f"{key}:{minute:.0f}", f"{key}:{minute - 1:.0f}"
    cache.add(this, 0, 3 * MINUTE)
    try:
        count = cache.incr(this)
    except ValueError:
        return None  # a cache that keeps nothing limits nobody
    before: int = cache.get(last, 0)
    if before * (1 - passed / MINUTE) + count <= limit:
        return None
    # Refused calls do not count, or who keeps trying would never get in.
    cache.decr(this)
    if count > limit:
        return MINUTE - passed + MINUTE / limit
    return MINUTE * (1 - (limit - count) / before) - passed


def _take(deployment: int, caller: str, day: date, runs: int, limit: int) -> bool:
    used = QuotaUse.objects.filter(deployment=deployment, caller=caller, day=day)
    room = used.filter(count__lte=limit - runs)
    if room.update(count=F("count") + runs):
        return True
    QuotaUse.objects.get_or_create(deployment_id=deployment, caller=caller, day=day)
    return bool(room.update(count=F("count") + runs))


def wait_of(key: str, limit: int) -> float | None:
    """
    Count one of anything against its minute; the seconds until there is room again, or None.
    Asks the cache.
    """
    return _hit(f"langserve:rate:{key}", limit, time.time()) if limit else None


def _seconds_to_midnight() -> float:
    now = timezone.localtime()
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), now.tzinfo)
    return math.ceil((midnight - now).total_seconds())
