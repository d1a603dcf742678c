"""Rows in order, by way of as many runs as it takes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from nilometer.lake.read import ordering
from nilometer.lake.read.ordering import ordered

AT = datetime(2026, 11, 23, tzinfo=UTC)
ROWS = [(f"k{n % 40}", f"é{n:03}", None if n % 2 else "x" * n, Decimal(n), AT) for n in range(200)]


@pytest.fixture(autouse=True, params=[100, 1_000_000], ids=["many runs", "one run"])
def run_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "RUN_BYTES", request.param)


def test_rows_come_in_the_order_of_their_first_columns() -> None:
    """With all their values, whatever they are."""
    shuffled = random.Random(1).sample(ROWS, len(ROWS))

    assert list(ordered(shuffled, by=2)) == sorted(ROWS, key=lambda row: row[:2])


def test_what_is_folded_away_in_a_run_is_folded_in_the_whole() -> None:
    """The last of each first column."""

    def last(rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
        return {row[0]: row for row in rows}.values()

    assert list(ordered(reversed(ROWS), by=2, fold=last)) == sorted(ROWS[-40:], key=lambda row: row[:2])


def test_no_rows_are_no_rows() -> None:
    assert list(ordered([], by=1)) == []
