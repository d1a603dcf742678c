"""Facts of delta-rs on which the protocol stands. A failing canary after a version bump says which reason is gone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    QueryBuilder,
    Schema,
    Transaction,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError
from tests.support.lake.proxy import NONE, Faults, FaultyProxy

from nilometer.lake.tables.storage import storage_options
from nilometer.local.plane.engine import Engine

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


def merged(table: str | DeltaTable, data: pa.Table, on: str = "t.id = s.id") -> Any:
    opened = DeltaTable(table) if isinstance(table, str) else table
    return opened.merge(data, on, source_alias="s", target_alias="t")


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


def test_append_only_lets_an_insert_only_merge_pass(uri: str) -> None:
    """And refuses one that updates or deletes."""
    write(DeltaTable(uri), rows(1))

    merged(uri, rows(1, 2)).when_not_matched_insert_all().execute()

    with pytest.raises(DeltaError, match="append-only"):
        merged(uri, rows(1)).when_matched_update_all().execute()
    with pytest.raises(DeltaError, match="append-only"):
        merged(uri, rows(1)).when_matched_delete().execute()
    assert count(uri) == 2


def test_append_only_lets_z_order_pass(uri: str) -> None:
    for n in range(3):
        write(DeltaTable(uri), rows(n))

    DeltaTable(uri).optimize.z_order(["id"])

    assert (count(uri), len(DeltaTable(uri).file_uris())) == (3, 1)


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


def test_the_number_of_a_transaction_is_kept_whole(uri: str) -> None:
    """63 bits of it, any text as its id, and without an end: it says which batches a dataset holds."""
    app_id = "batch:/services/crm%23#it's \U0001f600"
    write(DeltaTable(uri), rows(1), app_id=app_id, number=2**63 - 1)
    DeltaTable(uri).create_checkpoint()

    assert DeltaTable(uri).transaction_version(app_id) == 2**63 - 1
    assert DeltaTable(uri).transaction_version("batch:other") is None


def test_a_merge_that_changes_nothing_commits_nothing(tmp_path: Path) -> None:
    """Neither its transaction id, so a batch of late rows leaves no trace."""
    uri = str(tmp_path / "table")
    write_deltalake(uri, rows(1))
    noted = CommitProperties(app_transactions=[Transaction("batch", 1)])
    merge = DeltaTable(uri).merge(rows(1), "t.id = s.id", source_alias="s", target_alias="t", commit_properties=noted)
    merge.when_matched_update_all(predicate="s.id > t.id").when_not_matched_insert_all().execute()

    assert (DeltaTable(uri).version(), DeltaTable(uri).transaction_version("batch")) == (0, None)


def test_of_two_merges_from_one_snapshot_one_is_refused(tmp_path: Path) -> None:
    """Also when they insert different keys: the second could not see the first one's."""
    uri = str(tmp_path / "table")
    write_deltalake(uri, rows(1))
    first, second = DeltaTable(uri), DeltaTable(uri)
    merged(first, rows(2)).when_not_matched_insert_all().execute()

    with pytest.raises(CommitFailedError):
        merged(second, rows(3)).when_not_matched_insert_all().execute()


def test_parquet_is_read_without_pyarrow(tmp_path: Path) -> None:
    """By DataFusion, from a file, under the types that the file has."""
    pq.write_table(pa.table({"Id": pa.array([1], pa.int32()), "select": ["x"]}), tmp_path / "one.parquet")
    builder = QueryBuilder()
    builder.execute(f"CREATE EXTERNAL TABLE batch STORED AS PARQUET LOCATION '{tmp_path}/one.parquet'")

    found = pa.table(builder.execute("SELECT * FROM batch").read_all())
    assert (found.to_pylist(), found.schema.field("Id").type) == ([{"Id": 1, "select": "x"}], pa.int32())


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


def test_without_an_interval_checkpoints_are_a_hundred_commits_apart(tmp_path: Path) -> None:
    """And every later commit is read on opening: why the tables set ten."""
    uri = tmp_path / "table"
    DeltaTable.create(str(uri), SCHEMA)
    for n in range(101):
        write(DeltaTable(str(uri)), rows(n))

    assert [path.name[:20] for path in (uri / "_delta_log").glob("*.checkpoint.parquet")] == ["99".zfill(20)]


@pytest.mark.parametrize("microseconds", [1, 999, 1000])
def test_a_merge_sees_a_concurrent_duplicate(tmp_path: Path, microseconds: int) -> None:
    """1.6.6 misses it when the times are finer than a millisecond: the second reason for the pin."""
    uri, schema = str(tmp_path / "table"), pa.schema([("time", pa.timestamp("us", tz="UTC")), ("id", pa.int64())])
    start = datetime(2026, 11, 23, tzinfo=UTC)
    DeltaTable.create(uri, schema)
    write_deltalake(DeltaTable(uri), pa.table({"time": [start], "id": [0]}, schema=schema), mode="append")
    same = pa.table({"time": [start + timedelta(microseconds=microseconds)], "id": [1]}, schema=schema)
    first, second = (
        merged(DeltaTable(uri), same, "t.id = s.id AND t.time = s.time").when_not_matched_insert_all() for _ in range(2)
    )
    first.execute()

    with pytest.raises(CommitFailedError, match="concurrent"):
        second.execute()
    assert count(uri) == 2


def test_a_variant_takes_no_json_text(tmp_path: Path) -> None:
    """It would lift the reader version besides: payloads are JSON in a string."""
    fields = [{"name": "payload", "type": "variant", "nullable": True, "metadata": {}}]
    uri = str(tmp_path / "table")
    table = DeltaTable.create(uri, Schema.from_json(json.dumps({"type": "struct", "fields": fields})))

    with pytest.raises(DeltaError, match="Cannot cast"):
        write_deltalake(table, pa.table({"payload": ['{"a": 1}']}), mode="append")
    assert table.protocol().min_reader_version == 3


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


class Recorded:
    """A table in S3, and the requests that it costs."""

    def __init__(self, uri: str, proxy: FaultyProxy, record: Path) -> None:
        self.uri, self._record = uri, record
        self.options = storage_options(os.environ | {"AWS_ENDPOINT_URL": proxy.url})

    def open(self) -> DeltaTable:
        return DeltaTable(self.uri, storage_options=self.options)

    def requests(self) -> list[tuple[str, str, str]]:
        """Method, name below the table's log, and `If-None-Match`, since it was last asked."""
        lines = self._record.read_text().splitlines()
        self._record.write_text("")
        return [(method, path.rpartition("/")[2], only_if) for method, path, only_if in (x.split(" ") for x in lines)]


@pytest.fixture
def recorded(aws: Engine, bucket: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Recorded]:
    record = tmp_path / "requests"
    uri = f"s3://{bucket}/table"
    DeltaTable.create(uri, SCHEMA, storage_options=storage_options(os.environ))
    with FaultyProxy(aws.endpoint_url, getattr(request, "param", NONE), record) as proxy:
        yield Recorded(uri, proxy, record)


def listings(requests: list[tuple[str, str, str]]) -> list[str]:
    """Of the whole log: those of its end begin after a version."""
    return [name for method, name, _ in requests if "list-type=2" in name and "start-after" not in name]


def test_a_commit_to_s3_is_a_conditional_put(recorded: Recorded) -> None:
    """No lock table is needed, whatever older documentation asks for."""
    write(recorded.open(), rows(1))

    puts = [request for request in recorded.requests() if request[0] == "PUT"]
    assert puts[-1] == ("PUT", "1".zfill(20) + ".json", "*")


def test_the_default_hook_lists_the_whole_log(recorded: Recorded) -> None:
    """On every commit; ours leave that to maintenance."""
    table = recorded.open()
    recorded.requests()
    write_deltalake(table, rows(1), mode="append")
    by_default = listings(recorded.requests())
    write(table, rows(2))

    assert (len(by_default), len(listings(recorded.requests()))) == (1, 0)


@pytest.mark.parametrize("recorded", [Faults(kinds=("answer_lost",), most=1)], indirect=True)
def test_a_lost_answer_lands_twice_in_the_log(recorded: Recorded) -> None:
    """The client tries again, meets its own commit and goes on to the next version. Both name the same file, so that
    readers count its rows once; a writer that retried the whole append would write another file."""
    write_deltalake(recorded.open(), rows(1), mode="append", post_commithook_properties=QUIET)

    table = recorded.open()
    assert (table.version(), len(table.file_uris()), table.to_pyarrow_table().num_rows) == (2, 1, 1)


@pytest.mark.parametrize("recorded", [Faults(kinds=("answer_lost",), most=1)], indirect=True)
def test_a_lost_answer_with_a_transaction_raises(recorded: Recorded) -> None:
    """It has landed all the same: an exception means unknown."""
    with pytest.raises(CommitFailedError, match="Concurrent transaction"):
        write(recorded.open(), rows(1))

    assert (recorded.open().version(), recorded.open().to_pyarrow_table().num_rows) == (1, 1)
