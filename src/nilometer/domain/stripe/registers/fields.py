"""Reading the fields of a Stripe object within bounds: what has another type or is out of bounds is unreadable.

An unreadable field counts as absent and is named, so that the rest of the object counts. Null is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from nilometer.domain.stripe.event import Object, as_id, fits

TEXT_LENGTH = 500  # characters; Stripe's own bound on a value of metadata
LARGEST = 2**53  # amounts in minor units, as JSON numbers carry them exactly
MOMENTS = 253_402_300_800  # seconds from 1970 to the year 10000
QUANTITIES = 10**9
ROWS = 500  # of a list inside an object
KEYS = 200  # limits in metadata

Check = Callable[[Any], bool]
Unreadable = list[str]
"""Names of fields, as they are found."""


def is_text(value: Any) -> bool:
    """A string of at most `TEXT_LENGTH` characters."""
    return type(value) is str and len(value) <= TEXT_LENGTH


def is_whole(value: Any) -> bool:
    """An integer that a table of the lake holds; no boolean."""
    return type(value) is int and -LARGEST <= value <= LARGEST


def is_moment(value: Any) -> bool:
    """Seconds since 1970 within the range of dates."""
    return type(value) is int and 0 <= value < MOMENTS


def is_quantity(value: Any) -> bool:
    """A count of what is sold, zero included."""
    return type(value) is int and 0 <= value <= QUANTITIES


def is_flag(value: Any) -> bool:
    """A boolean, not 0 or 1."""
    return type(value) is bool


def take(snapshot: Object, checks: Mapping[str, Check], bad: Unreadable) -> dict[str, Any]:
    """The fields of `checks` that are there and hold what they should."""
    kept: dict[str, Any] = {}
    for name, readable in checks.items():
        value = snapshot.get(name)
        if value is not None:
            if readable(value):
                kept[name] = value
            else:
                bad.append(name)
    return kept


def taking(**checks: Check) -> Callable[[Object, Unreadable], dict[str, Any]]:
    """`take` with `checks` as a projection of its own."""
    return lambda snapshot, bad: take(snapshot, checks, bad)


def reference(snapshot: Object, name: str, bad: Unreadable) -> str | None:
    """The id of another object, which may be expanded."""
    value = snapshot.get(name)
    if value is None or value == "":
        return None
    found = as_id(value)
    if found is None:
        bad.append(name)
    return found


def flag(snapshot: Object, name: str, bad: Unreadable) -> bool | None:
    """True or nothing."""
    return take(snapshot, {name: is_flag}, bad).get(name) or None


def percentage(snapshot: Object, name: str, bad: Unreadable) -> str | None:
    """From 0 to 100 as a decimal in text, with at most four digits after the point: 12.5 is exact."""
    value = snapshot.get(name)
    if value is None:
        return None
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and 0 <= value <= 100:
        return format(Decimal(str(value)).quantize(Decimal("0.0001")).normalize(), "f")
    bad.append(name)
    return None


def part(snapshot: Object, name: str, bad: Unreadable) -> Object:
    """A hash inside an object; empty when there is none."""
    value = snapshot.get(name)
    if isinstance(value, Mapping):
        return value
    if value is not None:
        bad.append(name)
    return {}


def rows(snapshot: Object, name: str, bad: Unreadable) -> Iterator[Object]:
    """The hashes of a list inside an object, at most `ROWS`."""
    value = snapshot.get(name)
    if value is not None and (not isinstance(value, list) or len(value) > ROWS):
        bad.append(name)
    for one in value[:ROWS] if isinstance(value, list) else ():
        if isinstance(one, Mapping):
            yield one
        else:
            bad.append(name)


def workspace(snapshot: Object, bad: Unreadable) -> str | None:
    """`metadata.workspace_id`."""
    value = part(snapshot, "metadata", bad).get("workspace_id")
    if value is None or value == "":
        return None
    if isinstance(value, str) and fits(value):
        return value
    bad.append("metadata.workspace_id")
    return None


def catalog_metadata(snapshot: Object, bad: Unreadable) -> dict[str, str]:
    """What a product, price or feature says of its plan, as texts."""
    metadata = part(snapshot, "metadata", bad)
    kept: dict[str, str] = {}
    for name, value in metadata.items():
        if value is None or not (name in _CATALOG_KEYS or name.startswith("limit_")):
            continue
        if len(kept) < KEYS and len(name) <= TEXT_LENGTH and isinstance(value, str | int | float):
            text = str(value)
            if len(text) <= TEXT_LENGTH:
                kept[name] = text
                continue
        bad.append(f"metadata.{name[:_SHOWN]}")
    return kept


_CATALOG_KEYS = ("plan", "limits", "seats", "features", "addon")
_SHOWN = 40  # characters of a key of metadata; Stripe allows no more
