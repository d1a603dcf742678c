"""The lake in an analyst's own Python."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tests.support.lake.build import NOW, usage

import nilometer.lake
from nilometer.domain.lake.tables import USAGE
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
