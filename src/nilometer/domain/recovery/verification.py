"""Whether the lake and the tables say the same: two ordered streams, merged. Memory does not grow with either."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from typing import Any

from nilometer.domain.lake.redaction import REDACTED

Key = tuple[str, ...]


class DifferenceKind(StrEnum):
    """How two sides differ."""

    MISSING_IN_LAKE = "missing_in_lake"
    MISSING_IN_TABLE = "missing_in_table"
    DIFFERENT = "different"
    UNPROVEN = "unproven"
    WRONG_STEP = "wrong_step"


@dataclass(frozen=True, slots=True)
class ComparedEntry:
    """What one side has under one key. `changed_at` (RFC 3339) separates a change in flight from an error."""

    key: Key
    value: Any
    changed_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`fields` are the attributes in which two records differ; empty when the values are no records."""

    kind: DifferenceKind
    key: Key
    table: Any = None
    lake: Any = None
    fields: tuple[str, ...] = ()
    changed_at: str = ""


def compare(table: Iterable[ComparedEntry], lake: Iterable[ComparedEntry]) -> Iterator[ComparedEntry | Difference]:
    """Every key of either side in order: a `ComparedEntry` where both agree, else a `Difference`.

    Both sides are ordered by key, each key once; `ValueError` when one is not, because then nothing is proved.
    """
    ours, theirs = _ordered(table), _ordered(lake)
    left, right = next(ours, None), next(theirs, None)
    while left or right:
        if right is None or (left and left.key < right.key):
            assert left  # noqa: S101  # one of both is there
            yield Difference(
                kind=DifferenceKind.MISSING_IN_LAKE, key=left.key, table=left.value, changed_at=left.changed_at
            )
            left = next(ours, None)
        elif left is None or right.key < left.key:
            yield Difference(
                kind=DifferenceKind.MISSING_IN_TABLE, key=right.key, lake=right.value, changed_at=right.changed_at
            )
            right = next(theirs, None)
        else:
            yield _judged(left, right)
            left, right = next(ours, None), next(theirs, None)


def same(table: Any, lake: Any) -> bool:
    """Equal, where what the lake keeps redacted may be anything: rules of redaction change, old rows do not."""
    match table, lake:
        case _, str() if lake == REDACTED:
            return table is not None
        case dict(), dict():
            return table.keys() == lake.keys() and all(same(table[name], lake[name]) for name in table)
        case list(), list():
            return len(table) == len(lake) and all(map(same, table, lake))
    return bool(table == lake)


def sum_of_shards(shards: Iterable[ComparedEntry]) -> Iterator[ComparedEntry]:
    """Neighbours of one key added up: `value` is (total, count)."""
    for key, group in groupby(shards, key=lambda entry: entry.key):
        entries = list(group)
        total = sum((entry.value[0] for entry in entries), Decimal(0))
        count = sum(entry.value[1] for entry in entries)
        yield ComparedEntry(key, (total, count), max(entry.changed_at for entry in entries))


def _judged(left: ComparedEntry, right: ComparedEntry) -> ComparedEntry | Difference:
    if same(left.value, right.value):
        return left
    return Difference(
        kind=DifferenceKind.DIFFERENT,
        key=left.key,
        table=left.value,
        lake=right.value,
        fields=_differing(left.value, right.value),
        changed_at=max(left.changed_at, right.changed_at),
    )


def _differing(table: Any, lake: Any) -> tuple[str, ...]:
    if not isinstance(table, dict) or not isinstance(lake, dict):
        return ()
    names = sorted({*table, *lake})
    return tuple(n for n in names if n not in table or n not in lake or not same(table[n], lake[n]))


def _ordered(entries: Iterable[ComparedEntry]) -> Iterator[ComparedEntry]:
    before: Key | None = None
    for entry in entries:
        if before is not None and entry.key <= before:
            raise ValueError(f"{entry.key} comes after {before}: the stream is not ordered by key")
        before = entry.key
        yield entry
