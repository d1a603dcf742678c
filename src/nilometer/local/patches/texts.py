"""DynamoDB of MiniStack: what it works out of a condition or a number, it works out once.

An application has some dozens of conditions, and most of its numbers are small or times.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ministack.services import dynamodb  # type: ignore[import-untyped]  # it has no types

# MiniStack's functions have no public names.
# ruff: noqa: SLF001

_CONDITIONS, _NUMBERS = 1000, 10_000  # that are remembered


def use() -> None:
    """From now on."""
    dynamodb._condition_syntax_error = lru_cache(_CONDITIONS)(dynamodb._condition_syntax_error)
    tokens = _of_text(dynamodb._tokenize, _CONDITIONS)
    dynamodb._tokenize = lambda text: list(tokens(text))  # which is the caller's own
    dynamodb._ddb_canonicalize_number = _of_text(dynamodb._ddb_canonicalize_number, _NUMBERS)
    dynamodb._number_size_bytes = _of_text(dynamodb._number_size_bytes, _NUMBERS)


def _of_text(function: Callable[[Any], Any], most: int) -> Callable[[Any], Any]:
    """The function, whose answers for texts are remembered; what is no text may be anything."""
    known = lru_cache(most)(function)
    return lambda value: known(value) if type(value) is str else function(value)
