"""The billing period that an instant belongs to: half-open [start, end) in UTC, Stripe's own, never computed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nilometer.domain.store.times import epoch, from_epoch
from nilometer.domain.store.writes import Item

GRACE = timedelta(hours=72)
"""After its end a period still takes usage as its own; then it is closed, and what comes is late."""


@dataclass(frozen=True, slots=True)
class Period:
    """`provisional`: past the known end, and the renewal has not arrived; `end` is then a guess, `start` is not."""

    start: datetime
    end: datetime
    provisional: bool = False


def period_at(billing: Item | None, time: datetime) -> Period:
    """The period of `time` by a workspace's billing record (None: it has none).

    A known period of Stripe; past the newest known end of a subscription that lives, the provisional period that
    starts there; otherwise the calendar month, cut where a known period ends or begins.
    """
    known: Sequence[Sequence[int]] = (billing or {}).get("periods") or ()
    moment = epoch(time)
    index = bisect_right([start for start, _ in known], moment) - 1
    if index >= 0 and moment < known[index][1]:
        return Period(from_epoch(known[index][0]), from_epoch(known[index][1]))
    if known and index == len(known) - 1 and (billing or {}).get("renews"):
        return _provisional(*known[-1])
    after = known[index][1] if index >= 0 else None
    before = known[index + 1][0] if index + 1 < len(known) else None
    return _between(calendar_month(time), after, before)


def is_closed(period: Period, now: datetime) -> bool:
    """Never while its end is a guess."""
    return not period.provisional and now >= period.end + GRACE


def calendar_month(time: datetime) -> Period:
    """The UTC month that contains `time`: it stands in where Stripe has no period."""
    start = time.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start.replace(year=start.year + 1, month=1) if start.month == 12 else start.replace(month=start.month + 1)
    return Period(start, end)


def _provisional(start: int, end: int) -> Period:
    """The same for every moment, so that one counter counts them all: as long as the period before it."""
    return Period(from_epoch(end), from_epoch(end + (end - start)), provisional=True)


def _between(month: Period, after: int | None, before: int | None) -> Period:
    start = month.start if after is None else max(month.start, from_epoch(after))
    end = month.end if before is None else min(month.end, from_epoch(before))
    return Period(start, end)
