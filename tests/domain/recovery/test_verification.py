"""Two ordered streams agree, or the differences are named."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nilometer.domain.lake.redaction import REDACTED
from nilometer.domain.recovery.verification import (
    ComparedEntry,
    Difference,
    DifferenceKind,
    compare,
    same,
    sum_of_shards,
)

sides = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(0, 2), max_size=6)


def stream(side: dict[str, int]) -> list[ComparedEntry]:
    return [ComparedEntry((key,), side[key]) for key in sorted(side)]


@given(sides, sides)
def test_every_key_is_judged_once_and_rightly(table: dict[str, int], lake: dict[str, int]) -> None:
    """The same as comparing two dicts, without holding either."""
    found = {one.key[0]: one for one in compare(stream(table), stream(lake))}

    assert set(found) == {*table, *lake}
    for key, one in found.items():
        match one:
            case ComparedEntry():
                assert table[key] == lake[key]
            case Difference(kind=DifferenceKind.MISSING_IN_LAKE):
                assert key not in lake
            case Difference(kind=DifferenceKind.MISSING_IN_TABLE):
                assert key not in table
            case Difference(kind=DifferenceKind.DIFFERENT):
                assert table[key] != lake[key]


def test_a_disordered_stream_proves_nothing() -> None:
    with pytest.raises(ValueError, match="not ordered"):
        list(compare([ComparedEntry(("b",), 1), ComparedEntry(("a",), 1)], [ComparedEntry(("z",), 1)]))


def test_a_difference_names_its_fields() -> None:
    [found] = compare(
        [ComparedEntry(("a",), {"x": 1, "y": 2, "z": 3})], [ComparedEntry(("a",), {"x": 1, "y": 3, "w": 4})]
    )

    assert isinstance(found, Difference)
    assert found.fields == ("w", "y", "z")


@pytest.mark.parametrize(
    ("table", "lake", "equal"),
    [
        (1, Decimal("1.0"), True),
        ({"a": [1, "x"]}, {"a": [1, REDACTED]}, True),
        (None, REDACTED, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [1], False),
        ("a", "b", False),
    ],
)
def test_what_is_redacted_in_the_lake_may_be_anything(table: Any, lake: Any, equal: bool) -> None:
    assert same(table, lake) is equal


def test_shards_are_summed() -> None:
    shards = [
        ComparedEntry(("a",), (Decimal(1), 1), "t1"),
        ComparedEntry(("a",), (Decimal("0.5"), 2), "t2"),
        ComparedEntry(("b",), (Decimal(3), 1)),
    ]

    assert list(sum_of_shards(shards)) == [
        ComparedEntry(("a",), (Decimal("1.5"), 3), "t2"),
        ComparedEntry(("b",), (Decimal(3), 1)),
    ]
