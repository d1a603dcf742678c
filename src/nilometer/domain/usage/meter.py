"""A meter: what is counted, in which unit, and how many events become one number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from nilometer.domain.store.writes import Item
from nilometer.errors import Rejected

SLUG = re.compile(r"[a-z][a-z0-9_]{0,63}")
UNIT_LENGTH = 64
DIMENSIONS = 8  # declared on one meter


class Aggregation(StrEnum):
    """How the events of a period become its number. The values are stored in the meter's record."""

    COUNT = "count"  # how many events
    SUM = "sum"  # of their quantities
    MAX = "max"  # the largest level seen
    LATEST = "latest"  # the level at the latest time
    UNIQUE = "unique"  # how many values of the first declared dimension


GAUGES = frozenset({Aggregation.MAX, Aggregation.LATEST})
"""Levels, fed by `usage.snapshot.v1` or `usage.recorded.v1`; the others are fed by the latter alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """`dimensions` are the names that events may carry; without `stripe_event_name` Stripe is sent nothing."""

    slug: str
    unit: str
    aggregation: Aggregation
    dimensions: tuple[str, ...] = ()
    active: bool = True
    stripe_event_name: str | None = None
    fail_open: bool = True
    """Whether usage is allowed when a limit cannot be read."""

    def added_by(self, quantity: Decimal) -> Decimal:
        """What one event of this quantity adds to the number of a meter that counts or sums: 1 where events count."""
        return Decimal(1) if self.aggregation is Aggregation.COUNT else quantity


def new_meter(
    slug: str,
    *,
    unit: str,
    aggregation: str,
    dimensions: tuple[str, ...] = (),
    active: bool = True,
    stripe_event_name: str | None = None,
    fail_open: bool = True,
) -> Meter:
    """`Rejected("invalid_schema")` says which part cannot be."""
    check_name(slug)
    if not 0 < len(unit) <= UNIT_LENGTH:
        raise Rejected("invalid_schema", f"a unit has 1 to {UNIT_LENGTH} characters: token, call, gb_hour")
    kind = _aggregation(aggregation)
    _check_dimensions(dimensions)
    if kind is Aggregation.UNIQUE and not dimensions:
        raise Rejected("invalid_schema", "a unique meter counts the values of its first dimension; declare one")
    return Meter(
        slug=slug,
        unit=unit,
        aggregation=kind,
        dimensions=dimensions,
        active=active,
        stripe_event_name=stripe_event_name,
        fail_open=fail_open,
    )


def check_name(name: str) -> None:
    """`Rejected("invalid_schema")` for a name that is none: of meters, flags and datasets."""
    if not SLUG.fullmatch(name):
        raise Rejected("invalid_schema", f"{name[:80]!r} is not a slug; use a-z, 0-9 and _, at most 64, a letter first")


def meter_of(item: Item) -> Meter:
    """From the meter's item in the records table; items from before `fail_open` fail open."""
    return Meter(
        slug=item["meter"],
        unit=item["unit"],
        aggregation=Aggregation(item["aggregation"]),
        dimensions=tuple(item["dimensions"]),
        active=item["active"],
        stripe_event_name=item.get("stripe_event_name"),
        fail_open=item.get("fail_open", True),
    )


def _aggregation(text: str) -> Aggregation:
    try:
        return Aggregation(text)
    except ValueError:
        raise Rejected("invalid_schema", f"aggregation {text!r} is none of {', '.join(Aggregation)}") from None


def _check_dimensions(dimensions: tuple[str, ...]) -> None:
    if len(dimensions) > DIMENSIONS or len(set(dimensions)) < len(dimensions):
        raise Rejected("invalid_schema", f"a meter declares at most {DIMENSIONS} dimensions, each once")
    if bad := [name for name in dimensions if not SLUG.fullmatch(name)]:
        raise Rejected("invalid_schema", f"dimension {bad[0]!r} is not a slug; use a-z, 0-9 and _")
