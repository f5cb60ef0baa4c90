"""
Periods of the dashboard, cut into hours or days of the reader's time zone.

Moments are in UTC throughout: of two in one other zone Python compares the hands of the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from django.utils import timezone

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# Longer periods are cut into days.
HOURLY = 48 * HOUR


@dataclass(frozen=True, slots=True)
class Bucket:
    start: datetime
    end: datetime
    is_going_on: bool = False


@dataclass(frozen=True)
class Period:
    """
    From `start` to before `end`, which may be yet to come. Both are whole hours; where
    `is_daily`, whole days of the zone.
    """

    start: datetime
    end: datetime
    zone: tzinfo
    is_daily: bool
    now: datetime

    @property
    def reached(self) -> datetime:
        """
        Where the hour that goes on ends, if that is within the period.
        """
        return min(self.end, next_hour(self.now))

    @property
    def first_day(self) -> date:
        return self.start.astimezone(self.zone).date()

    @property
    def last_day(self) -> date:
        return (self.end - HOUR).astimezone(self.zone).date()

    def buckets(self) -> list[Bucket]:
        """
        Those that have begun.
        """
        found, start = [], self.start
        while start < self.reached:
            end = self._next_day(start) if self.is_daily else start + HOUR
            found.append(Bucket(start, end, is_going_on=start <= self.now < end))
            start = end
        return found

    def bucket_of(self) -> Callable[[datetime], int]:
        """
        The number of the bucket that a moment of the period is in.
        """
        start, zone, day = self.start, self.zone, self.first_day
        if self.is_daily:
            return lambda moment: (moment.astimezone(zone).date() - day).days
        return lambda moment: (moment - start) // HOUR

    def before(self) -> Period:
        """
        As long a period that ends where this one begins, up to as far as this one has come.
        """
        back = self.end - self.start
        start, reached = self.start - back, self.reached - back
        if self.is_daily:
            # By the clock of the wall, so that a day's hours are compared with the same ones.
            days = (self.last_day - self.first_day + DAY).days
            start = midnight(self.first_day - timedelta(days=days), self.zone)
            wall = self.reached.astimezone(self.zone) - timedelta(days=days)
            reached = wall.astimezone(UTC)
        return Period(start, min(reached, self.start), self.zone, self.is_daily, self.now)

    def _next_day(self, start: datetime) -> datetime:
        return midnight(start.astimezone(self.zone).date() + DAY, self.zone)


def last_hours(hours: int) -> Period:
    """
    So many hours, the one going on included.
    """
    now = timezone.now()
    end, length = next_hour(now), hours * HOUR
    zone = timezone.get_current_timezone()
    return Period(end - length, end, zone, is_daily=False, now=now)


def last_days(days: int) -> Period:
    """
    So many days, today included.
    """
    today = timezone.localdate()
    return between_days(today - timedelta(days=days - 1), today)


def between_days(first: date, last: date) -> Period:
    """
    Whole days, the last included.
    """
    zone = timezone.get_current_timezone()
    start, end = midnight(first, zone), midnight(last + DAY, zone)
    return Period(start, end, zone, is_daily=end - start > HOURLY, now=timezone.now())


def midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def next_hour(moment: datetime) -> datetime:
    """
    Hours are those of UTC, as the figures are; some zones are half an hour off.
    """
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
