"""Asking the lake, when it does not answer."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from tests.support.lake.build import NOW, usage

from nilometer.domain.lake.tables import USAGE
from nilometer.errors import Unavailable
from nilometer.lake.read.query import connect, describe, query
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode
from nilometer.local.plane.engine import Engine


def test_a_broken_log_is_a_sentence(tmp_path: Path) -> None:
    """With the table that it is of; no traceback for an analyst."""
    lake = Lake(uri=str(tmp_path), storage_options={})
    rows = decode(USAGE, json.dumps([usage("u1")]).encode())
    lake.append(USAGE, rows, recorded_at=NOW, deadline=time.monotonic() + 30)
    max(tmp_path.glob("usage/_delta_log/*.json")).write_text("{")

    with pytest.raises(Unavailable, match="usage cannot be read"):
        query("select 1 from usage", lake_uri=str(tmp_path), storage_options={})


def test_a_bucket_that_is_not_there_is_a_sentence(aws: Engine) -> None:
    with pytest.raises(Unavailable, match="s3://nobody-has-it/lake/stripe_events cannot be read"):
        describe(lake_uri="s3://nobody-has-it/lake", storage_options=storage_options(os.environ))


@pytest.mark.parametrize("name", ["a lake", "l'été"])
def test_a_lake_may_lie_in_any_folder(tmp_path: Path, name: str) -> None:
    """Files are opened by their paths, which no pattern and no quoting of DuckDB or Delta may bend."""
    (tmp_path / name).mkdir()
    lake = Lake(uri=str(tmp_path / name), storage_options={})
    lake.append(
        USAGE, decode(USAGE, json.dumps([usage("u1")]).encode()), recorded_at=NOW, deadline=time.monotonic() + 30
    )

    answered = query("select event_id, event_date from usage", lake_uri=lake.uri, storage_options={})

    assert list(answered.rows) == [("u1", NOW.date())]


def test_on_a_disk_duckdb_reads_the_files_itself(tmp_path: Path) -> None:
    """Through Arrow the same questions take up to nine times as long."""
    lake = Lake(uri=str(tmp_path), storage_options={})
    rows = decode(USAGE, json.dumps([usage("u1")]).encode())
    lake.append(USAGE, rows, recorded_at=NOW, deadline=time.monotonic() + 30)

    plan = str(connect(lake_uri=lake.uri, storage_options={}, naming="usage").sql("from usage").explain())

    assert "PARQUET" in plan
    assert "ARROW" not in plan
