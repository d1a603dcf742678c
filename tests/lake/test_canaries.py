"""Facts of delta-rs on which the protocol stands. A failing canary after a version bump says which reason is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, QueryBuilder, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

SCHEMA = pa.schema([pa.field("day", pa.string()), pa.field("id", pa.int64())])
QUIET = PostCommitHookProperties(cleanup_expired_logs=False)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    uri = str(tmp_path / "table")
    DeltaTable.create(uri, SCHEMA, partition_by=["day"], configuration={"delta.appendOnly": "true"})
    return uri


def rows(*ids: int, day: str = "a") -> pa.Table:
    return pa.table({"day": [day] * len(ids), "id": list(ids)}, schema=SCHEMA)


def write(table: DeltaTable, data: pa.Table, *, app_id: str = "dedupe:a", number: int = 1) -> None:
    properties = CommitProperties(app_transactions=[Transaction(app_id, number)], max_commit_retries=100)
    write_deltalake(table, data, mode="append", commit_properties=properties, post_commithook_properties=QUIET)


def count(uri: str) -> int:
    [[number]] = [
        batch.column("n").to_pylist()
        for batch in QueryBuilder().register("t", DeltaTable(uri)).execute("SELECT count(*) AS n FROM t")
    ]
    return int(number)


def test_a_transaction_id_is_a_compare_and_set(uri: str) -> None:
    """A commit is refused when another since its snapshot carried the same app id, whatever the numbers."""
    first, second = DeltaTable(uri), DeltaTable(uri)
    write(first, rows(1), number=1)

    with pytest.raises(CommitFailedError, match="Concurrent transaction"):
        write(second, rows(1), number=7)


def test_a_transaction_id_is_no_idempotency_key(uri: str) -> None:
    """The same id and number commit again from a fresh snapshot."""
    write(DeltaTable(uri), rows(1))
    write(DeltaTable(uri), rows(1))

    assert count(uri) == 2


def test_it_does_not_guard_across_objects(uri: str) -> None:
    """Writing by path opens the newest version itself: what was read before does not count."""
    read = DeltaTable(uri)
    write(DeltaTable(uri), rows(1))
    properties = CommitProperties(app_transactions=[Transaction("dedupe:a", 1)])

    write_deltalake(read.table_uri, rows(1), mode="append", commit_properties=properties)

    assert count(uri) == 2


def test_other_app_ids_pass_each_other(uri: str) -> None:
    first, second = DeltaTable(uri), DeltaTable(uri)
    write(first, rows(1))

    write(second, rows(2, day="b"), app_id="dedupe:b")

    assert count(uri) == 2


def test_append_only_refuses_what_removes_rows(uri: str) -> None:
    write(DeltaTable(uri), rows(1, 2))

    with pytest.raises(DeltaError):
        DeltaTable(uri).delete("id = 1")
    with pytest.raises(DeltaError):
        write_deltalake(DeltaTable(uri), rows(3), mode="overwrite")
    assert count(uri) == 2


def test_append_only_lets_upkeep_pass(uri: str) -> None:
    for n in range(3):
        write(DeltaTable(uri), rows(n))

    table = DeltaTable(uri)
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)

    assert (count(uri), len(table.file_uris())) == (3, 1)


def test_of_two_compactions_of_the_same_files_one_is_refused(uri: str) -> None:
    """1.6.6 takes both and doubles the rows: the reason for the pin."""
    for n in range(3):
        write(DeltaTable(uri), rows(n))
    first, second = DeltaTable(uri), DeltaTable(uri)
    first.optimize.compact()

    with pytest.raises(CommitFailedError):
        second.optimize.compact()
    assert count(uri) == 3


def test_a_compaction_drops_its_transaction_id(uri: str) -> None:
    """So it cannot be fenced by one; once this fails, `lake.maintenance` can say so in the log."""
    for n in range(3):
        write(DeltaTable(uri), rows(n))

    table = DeltaTable(uri)
    table.optimize.compact(commit_properties=CommitProperties(app_transactions=[Transaction("maintenance", 1)]))

    assert DeltaTable(uri).transaction_version("maintenance") is None


def test_the_default_hook_checkpoints_at_the_interval(tmp_path: Path) -> None:
    uri = tmp_path / "table"
    DeltaTable.create(str(uri), SCHEMA, configuration={"delta.checkpointInterval": "10"})
    for n in range(25):
        write(DeltaTable(str(uri)), rows(n))

    assert len(list((uri / "_delta_log").glob("*.checkpoint.parquet"))) == 2


@pytest.mark.parametrize(
    ("column", "reader_version"), [(pa.timestamp("us", tz="UTC"), 1), (pa.timestamp("us"), 3)], ids=["aware", "naive"]
)
def test_naive_timestamps_lift_the_reader_version(tmp_path: Path, column: Any, reader_version: int) -> None:
    schema = pa.schema([pa.field("time", column)])

    table = DeltaTable.create(str(tmp_path / "table"), schema)

    assert table.protocol().min_reader_version == reader_version


def test_a_column_of_nulls_without_a_type_becomes_void(tmp_path: Path) -> None:
    """Other engines cannot open it: why every batch carries the declared schema."""
    uri = str(tmp_path / "table")

    write_deltalake(uri, pa.table({"id": [1], "nothing": pa.nulls(1)}))

    assert '"void"' in DeltaTable(uri).schema().to_json()


def test_merging_schemas_may_change_values(tmp_path: Path) -> None:
    """A fraction written into a column of integers: why evolution is never left to the writer."""
    uri = str(tmp_path / "table")
    write_deltalake(uri, pa.table({"n": [1]}))

    write_deltalake(uri, pa.table({"n": [1.5]}), mode="append", schema_mode="merge")

    batches = QueryBuilder().register("t", DeltaTable(uri)).execute("SELECT n FROM t")
    assert sorted(n for batch in batches for n in batch.column("n").to_pylist()) == [1, 1]
