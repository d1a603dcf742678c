"""Batches land in their datasets exactly once, whole or not at all, and what cannot land is kept with its reason."""

from __future__ import annotations

import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from tests.support.faulty import Killed
from tests.support.flows.dataset_world import World, batch, new_world
from tests.support.flows.operations import NOW

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Outcome
from nilometer.errors import Unavailable
from nilometer.flows.lake import datasets, declaring
from nilometer.flows.lake.maintenance import all_tables, maintain
from nilometer.lake.write import batches as batches_module
from nilometer.lake.write.erase import NamingRows
from nilometer.lake.write.maintenance import clean
from nilometer.lake.write.soundness import READER_VERSION, examine

LATER = NOW + timedelta(hours=1)
ALL_TYPES = ("string", "json", "int64", "timestamp", "date", "decimal", "bool", "double")
VALUES = {
    "c_string": "Ünï",
    "c_json": {"a": [1.10, None]},
    "c_int64": 2**63 - 1,
    "c_timestamp": "2026-11-23T05:14:05.123456+01:00",
    "c_date": "2026-02-28",
    "c_decimal": "-999999999999999.999999999",
    "c_bool": True,
    "c_double": 0.1,
}


@pytest.fixture
def world(store: Store, objects: Objects, tmp_path: Path) -> World:
    return new_world(store, objects, tmp_path)


@pytest.fixture
def orders(world: World) -> World:
    """A dataset with an id and a note."""
    world.declare("orders", "id:string", "note:string:null")
    return world


def inline(id_: str, *ids: str, dataset: str = "orders") -> str:
    return batch(id_, dataset, rows=[{"id": one} for one in ids])


def test_a_batch_lands_once_however_often_it_is_delivered(orders: World) -> None:
    """In one message batch, in the next, and by reference as well as inline."""
    by_reference = batch("b2", object=orders.drop([{"id": "3", "note": "x"}, {"id": "4"}]))

    assert orders.outcomes(inline("b1", "1", "2"), by_reference, by_reference) == [
        Outcome.ACCEPTED,
        Outcome.ACCEPTED,
        Outcome.DUPLICATE,
    ]
    assert orders.outcomes(inline("b1", "1", "2"), by_reference) == [Outcome.DUPLICATE] * 2
    assert orders.ids() == ["1", "2", "3", "4"]
    assert {(row["batch_source"], row["batch_id"]) for row in orders.rows()} == {
        ("/services/crm", "b1"),
        ("/services/crm", "b2"),
    }


def test_a_parquet_file_is_a_batch_as_well(orders: World) -> None:
    """Once, and what is torn is kept."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": ["1", "2"], "note": ["x", None]}), buffer)
    key = "landing/crm/1.parquet"
    reference = {"key": key, "etag": orders.landing.put(key, buffer.getvalue()), "format": "parquet"}

    assert orders.outcomes(*[batch("b1", object=reference)] * 2) == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert [(row["id"], row["note"]) for row in orders.rows()] == [("1", "x"), ("2", None)]
    torn = {**reference, "etag": orders.landing.put(key, buffer.getvalue()[:-10])}
    assert orders.reason(batch("b2", object=torn)) == "invalid_row"


def test_equal_rows_of_two_batches_all_stay(orders: World) -> None:
    """What appends is known by its batch and not by its content."""
    orders.land(inline("b1", "1"), inline("b2", "1"))

    assert orders.ids() == ["1", "1"]


def test_every_type_survives_exactly(world: World) -> None:
    """And null, where it is declared."""
    world.declare(
        "orders", *(f"c_{name}:{name}" for name in ALL_TYPES), *(f"n_{name}:{name}:null" for name in ALL_TYPES)
    )

    assert world.outcomes(batch("b1", object=world.drop([VALUES]))) == [Outcome.ACCEPTED]

    [row] = world.rows()
    assert (row["c_string"], json.loads(row["c_json"]), row["c_int64"]) == ("Ünï", {"a": [1.10, None]}, 2**63 - 1)
    assert row["c_timestamp"] == datetime(2026, 11, 23, 4, 14, 5, 123456, UTC)
    assert (str(row["c_date"]), row["c_decimal"]) == ("2026-02-28", Decimal("-999999999999999.999999999"))
    assert (row["c_bool"], row["c_double"], row["recorded_at"]) == (True, 0.1, NOW)
    assert all(row[f"n_{name}"] is None for name in ALL_TYPES)


@pytest.mark.parametrize("word", ["class", "from", "order", "select", "created", "event_date", "created_at", "source"])
def test_a_column_may_have_any_name(world: World, word: str) -> None:
    """Also one that means something to Python, to SQL or in our own tables."""
    world.declare("orders", "id:string", f"{word}:timestamp")

    assert world.outcomes(batch("b1", rows=[{"id": "1", word: "2026-11-23T00:00:00Z"}])) == [Outcome.ACCEPTED]
    assert world.rows()[0][word] == datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    "wrong",
    [
        {"c_string": 1},
        {"c_string": None},
        {"c_int64": "1"},
        {"c_int64": 2**63},
        {"c_int64": 1.5},
        {"c_timestamp": "2026-11-23T04:14:05"},
        {"c_timestamp": "2026-02-30T04:14:05Z"},
        {"c_timestamp": "2026-11-23"},
        {"c_timestamp": 1795407245},
        {"c_timestamp": "9999-12-31T23:59:59-01:00"},
        {"c_timestamp": "0000-12-31T00:00:00Z"},
        {"c_date": "0000-12-31"},
        {"c_date": "2026-02-30"},
        {"c_date": "2026-1-5"},
        {"c_date": ""},
        {"c_decimal": 1.5},
        {"c_decimal": "1e5"},
        {"c_decimal": "0.0000000001"},
        {"c_bool": 1},
        {"c_double": "0.1"},
        {"c_json": None},
    ],
    ids=str,
)
def test_one_row_that_does_not_conform_rejects_its_batch(world: World, wrong: dict[str, Any]) -> None:
    """Whole, so that the corrected batch may have the same id: nothing of it was stored."""
    world.declare("orders", *(f"c_{name}:{name}" for name in ALL_TYPES))

    assert world.reason(batch("b1", rows=[VALUES, VALUES | wrong])) == "invalid_row"
    assert world.rows() == []
    assert world.outcomes(batch("b1", rows=[VALUES, VALUES])) == [Outcome.ACCEPTED]


def test_an_empty_partition_rejects_its_batch(world: World) -> None:
    """Delta says an empty text there as a null, and nobody could open the table any more."""
    world.declare("orders", "id:string", "part:string", partition_by="part")

    assert world.reason(batch("b1", rows=[{"id": "1", "part": "eu"}, {"id": "2", "part": ""}])) == "invalid_row"
    assert world.outcomes(batch("b1", rows=[{"id": "1", "part": "eu"}, {"id": "2", "part": " "}])) == [Outcome.ACCEPTED]
    assert world.ids() == ["1", "2"]


def test_a_day_of_parquet_that_no_calendar_has_rejects_its_batch(world: World) -> None:
    """Its days are numbers of 32 bits, most of them beyond the year 9999."""
    world.declare("orders", "day:date")
    content = io.BytesIO()
    days = pa.array([0, 2_932_897], type=pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"day": days}), content)
    key = "landing/crm/1.parquet"
    reference = {"key": key, "etag": world.landing.put(key, content.getvalue()), "format": "parquet"}

    assert world.reason(batch("b1", object=reference)) == "invalid_row"


@pytest.mark.parametrize("rows", [["no row"], [{}], [{"id": "1"}, 5], [None]], ids=str)
def test_what_is_no_row_rejects_its_batch(orders: World, rows: list[Any]) -> None:
    assert orders.reason(batch("b1", rows=rows)) == "invalid_row"


@pytest.mark.parametrize("content", [b'{"id": "1"}\n{"id": ', b"\xff\xfe", b'{"id": "\xff"}', b"id\n1\n"], ids=str)
def test_an_object_that_is_no_ndjson_is_kept(orders: World, content: bytes) -> None:
    """Torn in the middle, another encoding, another format."""
    key = "landing/crm/1.ndjson"
    reference = {"key": key, "etag": orders.landing.put(key, content), "format": "ndjson"}

    assert orders.reason(batch("b1", object=reference)) == "invalid_row"


def test_an_object_is_read_as_it_was_announced(orders: World) -> None:
    """What was written over it since is not it; nor is what has another hash or size, or is gone."""
    old = orders.drop([{"id": "1"}])
    new = orders.drop([{"id": "2"}])

    assert orders.reason(batch("b1", object=old)) == "object_changed"
    assert orders.reason(batch("b2", object=new | {"sha256": "0" * 64})) == "object_changed"
    assert orders.reason(batch("b3", object=new | {"size": 1})) == "object_changed"
    assert orders.reason(batch("b4", object=new | {"key": "landing/crm/nowhere"})) == "object_missing"
    assert orders.outcomes(batch("b5", object=new | {"size": 11})) == [Outcome.ACCEPTED]


def test_an_object_of_a_batch_that_has_landed_may_be_gone(orders: World) -> None:
    """Its life cycle ends before the archive's: a replay is a duplicate all the same."""
    reference = orders.drop([{"id": "1"}])
    orders.land(batch("b1", object=reference))
    orders.objects._client.delete_object(Bucket=orders.objects.bucket, Key=reference["key"])

    assert orders.outcomes(batch("b1", object=reference)) == [Outcome.DUPLICATE]


def test_an_object_that_is_too_large_is_not_read(orders: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nilometer.aws.landing.OBJECT_BYTES", 10)

    assert orders.reason(batch("b1", object=orders.drop([{"id": "1"}]))) == "too_large"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"rows": [], "object": {"key": "landing/x", "etag": "e", "format": "ndjson"}},
        {"object": {"key": "lake/usage/x", "etag": "e", "format": "ndjson"}},
        {"object": {"key": "landing/", "etag": "e", "format": "ndjson"}},
        {"object": {"key": "landing/x", "format": "ndjson"}},
        {"object": {"key": "landing/x", "etag": "e", "format": "csv"}},
        {"rows": [], "dataset": "../usage"},
        {"rows": [], "unit": "row"},
    ],
    ids=str,
)
def test_an_event_that_is_none_is_kept(orders: World, data: dict[str, Any]) -> None:
    """An object of another prefix is nobody's to name."""
    assert orders.reason(batch("b1", **data)) == "invalid_schema"


def test_the_same_id_with_another_content_is_refused(orders: World) -> None:
    """Inline or by reference; the first one stays."""
    orders.land(inline("b1", "1"), batch("b2", object=orders.drop([{"id": "2"}])))

    assert orders.reason(inline("b1", "3")) == "id_reuse"
    assert orders.reason(batch("b2", object=orders.drop([{"id": "3"}]))) == "id_reuse"
    assert orders.ids() == ["1", "2"]


def test_the_same_content_under_another_key_is_the_same_batch(orders: World) -> None:
    """A service that died between writing and announcing writes it again."""
    orders.land(batch("b1", object=orders.drop([{"id": "1"}])))

    assert orders.outcomes(batch("b1", object=orders.drop([{"id": "1"}], key="landing/crm/again"))) == [
        Outcome.DUPLICATE
    ]


def test_a_declaration_on_its_way_is_waited_for(world: World) -> None:
    """The bus keeps no order; after ten minutes it does not come any more."""
    body = inline("b1", "1")
    assert world.outcomes(body) == [Outcome.WAITING]
    world.declare("orders", "id:string")

    assert world.outcomes(body) == [Outcome.ACCEPTED]
    world.now = LATER
    assert world.reason(inline("b2", "1", dataset="nowhere")) == "unknown_dataset"


def test_so_is_the_declaration_of_a_column(orders: World) -> None:
    """And the older rows have no value in it, nor has a batch that does not know it."""
    orders.land(inline("b1", "1"))
    body = batch("b2", rows=[{"id": "2", "score": 0.5}])
    assert orders.outcomes(body) == [Outcome.WAITING]
    orders.declare("orders", "id:string", "note:string:null", "score:double:null")

    assert orders.outcomes(body, inline("b3", "3")) == [Outcome.ACCEPTED] * 2
    assert [row["score"] for row in orders.rows()] == [None, 0.5, None]
    orders.now = LATER
    assert orders.reason(batch("b4", rows=[{"id": "2", "colour": "red"}])) == "unknown_column"


def test_a_writer_of_yesterday_fills_a_column_of_today_with_null(
    orders: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read the declaration before the other wrote it, and the table after."""
    before = declaring.declared(orders.store, "orders")
    orders.declare("orders", "id:string", "note:string:null", "score:double:null")
    orders.land(batch("b1", rows=[{"id": "1", "score": 0.5}]))
    monkeypatch.setattr(datasets, "declared", lambda *_: before)

    assert orders.outcomes(inline("b2", "2")) == [Outcome.ACCEPTED]
    assert [row["score"] for row in orders.rows()] == [0.5, None]


def test_a_batch_without_rows_commits_nothing(orders: World) -> None:
    """There is nothing to be found twice."""
    empty = batch("b1", rows=[])
    orders.land(empty)
    version = orders.table().version()

    assert orders.outcomes(empty) == [Outcome.ACCEPTED]
    assert (orders.rows(), orders.table().version()) == ([], version)


def test_a_process_that_dies_leaves_all_of_a_batch_or_nothing(orders: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its commit the message comes again and lands, after it as well and is found."""
    commit = batches_module._commit
    ends = []
    for number, landed in enumerate([False, True]):

        def dying(*given: Any, landed: bool = landed) -> None:
            if landed:
                commit(*given)
            raise Killed

        body = inline(f"b{number}", f"{number}a", f"{number}b")
        monkeypatch.setattr(batches_module, "_commit", dying)
        with pytest.raises(Killed):
            orders.land(body)
        monkeypatch.setattr(batches_module, "_commit", commit)
        ends += orders.outcomes(body)

    assert ends == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert orders.ids() == ["0a", "0b", "1a", "1b"]


def test_a_commit_whose_answer_was_lost_is_found(orders: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt lands and raises; the second reads the log and commits nothing."""
    commit, commits = batches_module._commit, 0

    def unanswered(*given: Any) -> None:
        nonlocal commits
        commits += 1
        commit(*given)
        raise OSError("connection reset")

    monkeypatch.setattr(batches_module, "_commit", unanswered)

    assert orders.outcomes(inline("b1", "1")) == [Outcome.DUPLICATE]
    assert (commits, orders.ids()) == (1, ["1"])


def test_a_slow_twin_is_refused(orders: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our reading of the log and our commit the same batch lands; a neighbour's is not in the way."""
    commit = batches_module._commit
    body = inline("b1", "1")

    def overtaken(*given: Any) -> None:
        monkeypatch.setattr(batches_module, "_commit", commit)
        orders.land(body, inline("b2", "2"))
        commit(*given)

    monkeypatch.setattr(batches_module, "_commit", overtaken)

    assert orders.outcomes(body) == [Outcome.DUPLICATE]
    assert orders.ids() == ["1", "2"]


def test_writers_at_once_land_each_batch_once(orders: World) -> None:
    """Four, each with all batches, in an order of his own; the table does not even exist."""
    bodies = [inline(f"b{n}", f"{n}a", f"{n}b") for n in range(6)]
    barrier = threading.Barrier(4)

    def writer(number: int) -> list[Outcome]:
        barrier.wait()
        return orders.outcomes(*bodies[number:], *bodies[:number])

    with ThreadPoolExecutor(4) as pool:
        ends = [end for found in pool.map(writer, range(4)) for end in found]

    assert ends.count(Outcome.ACCEPTED) + ends.count(Outcome.DUPLICATE) == 24
    assert orders.ids() == sorted(f"{n}{letter}" for n in range(6) for letter in "ab")


def test_upkeep_does_not_forget_a_batch(orders: World) -> None:
    """Compacted, with checkpoints and without the log of before, the table still knows what it holds."""
    bodies = [inline(f"b{n}", str(n)) for n in range(15)]
    orders.land(*bodies)
    table = orders.table()
    table.optimize.compact()
    clean(table)
    log = Path(orders.lake.uri, "datasets/orders/_delta_log")
    checkpoint = int(json.loads((log / "_last_checkpoint").read_text())["version"])
    for path in log.glob("*.json"):
        if path.stem.isdigit() and int(path.stem) < checkpoint:
            path.unlink()

    assert orders.outcomes(*bodies) == [Outcome.DUPLICATE] * 15
    assert len(orders.ids()) == 15


def test_upkeep_is_of_datasets_too(orders: World) -> None:
    """Appended or merged, of any size, without partitions; written or not."""
    orders.declare("merged", "id:string", "n:int64", mode="merge", key=["id"], order_by="n")
    orders.declare("unwritten", "id:string")
    orders.land(*(inline(f"b{n}", str(n)) for n in range(3)))
    orders.land(*(batch(f"b{n}", "merged", rows=[{"id": str(n), "n": 1}]) for n in range(3)))
    tables = all_tables(orders.store)

    reports = {one.table: one for one in maintain(orders.lake, now=NOW, deadline=time.monotonic() + 60, tables=tables)}

    assert [one.name for one in tables][-3:] == ["datasets/merged", "datasets/orders", "datasets/unwritten"]
    for name in ("datasets/orders", "datasets/merged"):
        assert (reports[name].days, reports[name].files_removed, reports[name].stopped) == (("*",), 3, None)
    assert len(orders.table().file_uris()) == len(orders.table("merged").file_uris()) == 1
    assert (orders.ids(), orders.ids("merged")) == (["0", "1", "2"], ["0", "1", "2"])


def test_a_table_that_cannot_be_opened_stops_no_other_ones_upkeep(orders: World) -> None:
    """Another writer put an empty text into the partition, which the log says as a null that may not be."""
    orders.declare("broken", "id:string", "part:string", partition_by="part")
    orders.land(batch("b1", "broken", rows=[{"id": "1", "part": "eu"}]))
    orders.land(*(inline(f"b{n}", str(n)) for n in range(3)))
    rows = orders.table("broken").to_pyarrow_table()
    empty = rows.set_column(rows.schema.get_field_index("part"), rows.schema.field("part"), [[""]])
    with suppress(ValueError):
        write_deltalake(orders.table("broken"), empty, mode="append")
    tables = all_tables(orders.store)

    reports = {one.table: one for one in maintain(orders.lake, now=NOW, deadline=time.monotonic() + 60, tables=tables)}

    assert "null" in str(reports["datasets/broken"].stopped)
    assert (reports["datasets/orders"].files_removed, reports["datasets/orders"].stopped) == (3, None)
    with pytest.raises(Unavailable, match="datasets/broken were not counted"):
        NamingRows(
            uri=f"{orders.lake.uri}/datasets/broken", storage_options={}, ids=["1"], addresses=[], append_only=True
        ).count()


def test_a_dataset_that_an_eraser_closed_takes_the_next_batch(orders: World) -> None:
    """One of an earlier version closed what merges, as it closes what is only appended to."""
    orders.declare("merged", "id:string", "n:int64", mode="merge", key=["id"], order_by="n")
    orders.land(batch("b1", "merged", rows=[{"id": "1", "n": 1}]))
    orders.table("merged").alter.set_table_properties({"delta.appendOnly": "true"})

    assert orders.outcomes(batch("b2", "merged", rows=[{"id": "1", "n": 2}])) == [Outcome.ACCEPTED]
    assert [row["n"] for row in orders.rows("merged")] == [2]
    assert orders.table("merged").metadata().configuration["delta.appendOnly"] == "false"


def test_every_reader_can_open_a_dataset(orders: World) -> None:
    """Merging adds no feature that lifts the reader's version; and the table is as declared."""
    orders.declare("merged", "id:string", "n:int64", mode="merge", key=["id"], order_by="n")
    orders.land(inline("b1", "1"), *(batch(f"b{n}", "merged", rows=[{"id": "1", "n": n}]) for n in range(3)))

    for table in all_tables(orders.store)[-2:]:
        seen = examine(table, lake_uri=orders.lake.uri, storage_options={})
        assert (seen.reader_version, seen.features, seen.append_only) == (READER_VERSION, (), True)
        assert (seen.missing, seen.retyped, seen.strange) == ((), (), ())


def test_a_lake_that_is_away_fails_only_now(orders: World) -> None:
    """The message comes again; nothing is kept as wrong."""
    Path(orders.lake.uri, "datasets/orders/_delta_log").mkdir(parents=True)
    Path(orders.lake.uri, "datasets/orders/_delta_log/00000000000000000000.json").write_text("no log")
    orders.seconds = 0.2

    assert orders.outcomes(inline("b1", "1")) == [Outcome.FAILED]
    assert orders.rejects() == []


def test_a_body_that_is_nothing_is_kept_and_its_neighbour_lands(orders: World) -> None:
    assert orders.outcomes("{", inline("b1", "1")) == [Outcome.REJECTED, Outcome.ACCEPTED]
