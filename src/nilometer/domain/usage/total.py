"""What the shards of one counter say together. Sums are exact: they are wider than DynamoDB's 38 digits."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from nilometer.domain.store.writes import Item
from nilometer.domain.usage.counter import EXACT
from nilometer.domain.usage.meter import Aggregation


def used(aggregation: Aggregation, shards: Iterable[Item]) -> Decimal:
    """One number from all shards of one counter."""
    items = list(shards)
    match aggregation:
        case Aggregation.COUNT:
            return Decimal(sum(item["count"] for item in items))
        case Aggregation.SUM:
            return exact_sum(Decimal(item["total"]) for item in items)
        case Aggregation.MAX:
            return max((Decimal(item["max"]) for item in items if "max" in item), default=Decimal(0))
        case Aggregation.LATEST:
            newest = max(items, key=lambda item: str(item.get("latest_at", "")), default={})
            return Decimal(newest.get("latest", 0))
        case Aggregation.UNIQUE:
            return Decimal(sum(item.get("unique", 0) for item in items))


def late(aggregation: Aggregation, shards: Iterable[Item]) -> tuple[Decimal | None, int]:
    """By how much, and by how many events, `used` has changed since the period was closed; a level or a number of
    values cannot say by how much."""
    items = list(shards)
    count = sum(int(item.get("late_count", 0)) for item in items)
    match aggregation:
        case Aggregation.COUNT:
            return Decimal(count), count
        case Aggregation.SUM:
            return exact_sum(Decimal(item.get("late_total", 0)) for item in items), count
        case _:
            return None, count


def exact_sum(numbers: Iterable[Decimal]) -> Decimal:
    """Not rounded."""
    total = Decimal(0)
    for number in numbers:
        total = EXACT.add(total, number)
    return total
