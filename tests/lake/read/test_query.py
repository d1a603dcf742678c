"""Asking the lake, when it does not answer."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from arro3.core import Array, DataType
from deltalake import DeltaTable
from tests.support.lake.build import DAY, NOW, START, append, change, stripe_event, usage

from nilometer.domain.lake import tables
from nilometer.domain.lake.dataset import new_column, new_dataset
from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS, USAGE
from nilometer.errors import Rejected, Unavailable
from nilometer.lake.read.bounded import bounded_query
from nilometer.lake.read.query import connect, describe, query
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.write.append import Lake
from nilometer.lake.write.batches import Batches, DatasetBatch
from nilometer.lake.write.maintenance import compact
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


def test_what_is_wrong_with_one_dataset_is_no_matter_of_the_others(tmp_path: Path) -> None:
    """Only those that a question names are opened; of one whose files were half deleted no log is left."""
    dataset = new_dataset("orders", mode="append", columns=[new_column("id", "string")])
    rows = {"id": Array(["a"], type=DataType.string())}
    batches = Batches(lake=Lake(uri=str(tmp_path), storage_options={}), now=NOW, deadline=time.monotonic() + 30)
    batches.land(dataset, DatasetBatch(source="/s", id="1", fingerprint=1), lambda: rows)
    for name, content in (("cut", "{"), ("half_deleted", None)):
        (tmp_path / "datasets" / name / "_delta_log").mkdir(parents=True)
        if content:
            (tmp_path / "datasets" / name / "_delta_log" / f"{0:020}.json").write_text(content)
    given: dict[str, Any] = {"lake_uri": str(tmp_path), "storage_options": {}}
    names = ["cut", "half_deleted", "orders"]

    for ask in (query, bounded_query):
        assert list(ask("select id from datasets.orders", datasets=names, **given).rows) == [("a",)]
        with pytest.raises(Rejected, match="half_deleted does not exist"):
            ask("select id from datasets.half_deleted", datasets=names, **given)
        with pytest.raises(Unavailable, match="cut cannot be read"):
            ask("select id from datasets.cut", datasets=names, **given)


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


@pytest.mark.parametrize("compacted", [False, True], ids=["appended", "compacted"])
@pytest.mark.parametrize(
    ("table", "row", "id_"),
    [(USAGE, usage, "event_id"), (STRIPE_EVENTS, stripe_event, "event_id"), (AUDIT, change, "change_id")],
    ids=["usage", "stripe_events", "audit"],
)
def test_an_id_is_looked_for_where_it_is(
    tmp_path: Path, table: tables.DeltaTable, row: Any, id_: str, compacted: bool
) -> None:
    """Among random ids each file's smallest and largest say nothing: its Bloom filter leaves it out, or lets it in."""
    lake, days = Lake(uri=str(tmp_path), storage_options={}), range(4)
    names = {day: [f"{(7 * day + n) * 2_654_435_761 % 2**32:08x}" for n in range(6)] for day in days}
    for day in days:
        for half in (names[day][:3], names[day][3:]):
            append(lake, table, *(row(name, created=START + day * DAY) for name in half))
    stored = DeltaTable(f"{lake.uri}/{table.name}")
    for day in days if compacted else ():
        compact(stored, table, f"2026-11-{23 + day}")
    files = stored.file_uris()

    def files_with(name: str) -> set[str]:
        probe = f"from parquet_bloom_probe({files!r}, '{id_}', '{name}') where not bloom_filter_excludes"
        return {path for path, *_ in duckdb.sql(probe).fetchall()}

    assert len(files) == (4 if compacted else 8)
    for day in days:
        for name in names[day]:
            found = files_with(name)
            assert any(f"event_date=2026-11-{23 + day}" in path for path in found)
            assert len(found) < len(files) / 2
