"""The lake in an analyst's own Python."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from tests.support.lake.build import NOW, usage

import nilometer.lake
from nilometer.domain.lake.books import BOOKS
from nilometer.domain.lake.tables import USAGE
from nilometer.errors import Rejected
from nilometer.lake.read.recipes import RECIPES
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode


@pytest.fixture
def place(tmp_path: Path) -> str:
    rows = decode(USAGE, json.dumps([usage("u1"), usage("u2")]).encode())
    Lake(uri=str(tmp_path), storage_options={}).append(USAGE, rows, recorded_at=NOW, deadline=time.monotonic() + 30)
    return str(tmp_path)


def test_three_lines_are_enough(place: str) -> None:
    """Every table and view is there, also one that nothing has been written to."""
    lake = nilometer.lake.connect(place)

    assert lake.sql("select sum(quantity) from usage").fetchall()[0][0] == 3
    assert lake.sql("select count(*) from subscriptions").fetchall() == [(0,)]


def test_recipes_run_there(place: str) -> None:
    """Their two variables are set."""
    lake = nilometer.lake.connect(place)

    assert [lake.sql(recipe.sql) is not None for recipe in RECIPES.values()] == [True] * len(RECIPES)


def test_a_frame_counts_what_duckdb_counts(place: str) -> None:
    """A table, and the current state of a book, as Polars sees them; another name is a sentence."""
    rows = [row | {"change_id": f"c{n}", "sequence_number": str(n)} for n, row in enumerate([_refund(), _refund()])]
    rows.append(_refund() | {"change_id": "s1", "origin": "snapshot", "sequence_number": "9"})
    decoded = decode(BOOKS["refunds_history"], json.dumps(rows).encode())
    Lake(uri=place, storage_options={}).append(
        BOOKS["refunds_history"], decoded, recorded_at=NOW, deadline=time.monotonic() + 30
    )

    assert nilometer.lake.scan("usage", place).collect().height == 2
    assert nilometer.lake.scan("refunds_history", place).collect().height == 3
    [current] = nilometer.lake.scan("refunds", place).select("change_id", "amount").collect().rows()
    lake = nilometer.lake.connect(place)
    assert lake.sql("select change_id, amount from refunds").fetchall() == [current] == [("c1", 500)]
    with pytest.raises(Rejected, match="there is no table refund; ours are stripe_events"):
        nilometer.lake.scan("refund", place)


def test_columns_say_what_they_mean(place: str) -> None:
    """In DuckDB, and in the log of the table, from which other engines read it."""
    lake = nilometer.lake.connect(place)
    shown = dict(lake.sql("select column_name, comment from duckdb_columns() where table_name = 'usage'").fetchall())
    stored = {field.name: field.metadata["comment"] for field in DeltaTable(f"{place}/usage").schema().fields}

    assert stored == {column.name: column.meaning for column in USAGE.columns} == shown
    [(said,)] = lake.sql("select comment from duckdb_views() where view_name = 'usage'").fetchall()
    assert said == USAGE.meaning == DeltaTable(f"{place}/usage").metadata().description


def _refund() -> dict[str, Any]:
    when = "2026-11-23T04:14:05Z"
    known = {"account": "self", "livemode": False, "deleted": False, "ambiguous": False, "origin": "event"}
    return {
        "object_id": "re_1",
        "amount": 500,
        "valid_from": when,
        "known_at": when,
        "created": 1,
        "digest": "d",
        **known,
    }
