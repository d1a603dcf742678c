"""DynamoDB of MiniStack: items are measured and judged with less CPU.

Each write measures its item several times, and asks three times of each value whether it has a rare fault. Most values
are texts, which cannot have one, so that is asked first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services import dynamodb  # type: ignore[import-untyped]  # it has no types

# MiniStack's functions have no public names.
# ruff: noqa: SLF001


def use() -> None:
    """From now on."""
    dynamodb._item_size_bytes = _measuring(dynamodb._attribute_value_size)
    dynamodb._nesting_exceeded = _but_texts(dynamodb._nesting_exceeded, False)
    dynamodb._attribute_value_error = _but_texts(dynamodb._attribute_value_error, None)
    dynamodb._validate_attribute_value = _but_a_text(dynamodb._validate_attribute_value)


def _is_text(value: Any) -> bool:
    return type(value) is dict and len(value) == 1 and type(value.get("S")) is str


def _measuring(whole: Callable[[Any], int]) -> Callable[[Any], int]:
    """Bytes of an item's names and values."""

    def measuring(item: Any) -> int:
        if not isinstance(item, dict):
            return 0
        return sum(
            _bytes(name) + (_bytes(value["S"]) if _is_text(value) else whole(value)) for name, value in item.items()
        )

    return measuring


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _but_texts(whole: Callable[..., Any], none: Any) -> Callable[..., Any]:
    """Of a value inside of others `whole` is told how deep it is."""
    return lambda value, *depth: whole(value, *depth) if depth or not _is_text(value) else none


def _but_a_text(whole: Callable[..., Any]) -> Callable[..., Any]:
    return lambda name, value, *depth: whole(name, value, *depth) if depth or not _is_text(value) else None
