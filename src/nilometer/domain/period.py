"""The billing period that an instant belongs to: half-open [start, end) in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from nilometer.domain.writes import Item


@dataclass(frozen=True, slots=True)
class Period:
    """`provisional`: past the known end, and the renewal has not arrived."""

    start: datetime
    end: datetime
    provisional: bool = False


def period_at(billing: Item | None, time: datetime) -> Period:
    """The period of `time`: so far the calendar month, as for a workspace without a subscription.

    The timeline of the billing record (`periods`) is the billing flow's to add here.
    """
    del billing
    return calendar_month(time)


def calendar_month(time: datetime) -> Period:
    start = time.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start.replace(year=start.year + 1, month=1) if start.month == 12 else start.replace(month=start.month + 1)
    return Period(start, end)
