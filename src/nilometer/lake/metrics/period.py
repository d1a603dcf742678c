"""Of which time and as known when a metric is asked, as literals of SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPeriod:
    """From the begin of `first` to the end of `last`, UTC days, as known at `known_at`."""

    first: date
    last: date
    known_at: datetime

    @property
    def until(self) -> datetime:
        """The first instant after it."""
        return _midnight(self.last + timedelta(days=1))

    def days(self) -> Iterator[date]:
        """Every day of it."""
        yield from (self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))

    def months(self) -> Iterator[date]:
        """The first of every month that it touches."""
        month = self.first.replace(day=1)
        while month <= self.last:
            yield month
            month = _next(month)


def calendar(days: Iterator[date], *, months: bool = False, until: datetime | None = None) -> str:
    """Rows (day, begins, ends): ends is the first instant after the day or month, and not after `until`."""
    ends = ((day, _midnight(_next(day) if months else day + timedelta(days=1))) for day in days)
    rows = (
        f"({date_literal(day)}, {instant_literal(_midnight(day))}, {instant_literal(min(end, until or end))})"
        for day, end in ends
    )
    return ",\n      ".join(rows)


def instant_literal(instant: datetime) -> str:
    """A timestamp with its zone, as DuckDB, Trino and Spark read it."""
    return f"timestamp '{instant.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}+00:00'"


def date_literal(day: date) -> str:
    """As every engine reads it."""
    return f"date '{day.isoformat()}'"


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _next(month: date) -> date:
    return (month.replace(day=28) + timedelta(days=4)).replace(day=1)
