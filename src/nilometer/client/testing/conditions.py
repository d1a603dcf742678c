"""Conditions of writes as DynamoDB evaluates them, on an item in the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nilometer.domain.store.writes import Absent, Enough, Expected, Item, Less, Present, Unchanged, Version


def holds(item: Item | None, expected: Expected | None) -> bool:
    """Whether a write that expects this of the stored item may go on."""
    match expected:
        case None:
            return True
        case Absent():
            return item is None
        case Present():
            return item is not None
        case Version(number):
            return item is not None and item.get("version") == number
        case Unchanged(number, equal):
            return item is not None and item.get("version") == number and _says(item, equal)
        case Less(attribute, value):
            return item is None or attribute not in item or item[attribute] < value
        case Enough(attribute, amount, equal):
            return item is not None and item.get(attribute, 0) >= amount and _says(item, equal)


def _says(item: Item, equal: Mapping[str, Any]) -> bool:
    return all(item.get(name) == value for name, value in equal.items())
