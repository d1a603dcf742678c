"""What a batch of a connector dataset costs: `python benchmarks/datasets.py [--rows 100000] [--repeat 9]`.

One JSON line a measurement, with its goal; exit code 1 when one is missed. From the announced event to the commit, on
local disk, with the batch's object in memory: declaration, check of its ETag and size, types of each column, the look
into the table's log whether the batch is there, and the commit. The first batch of each is not counted.

The peers do the same work without these promises, in turns with ours: `append` is pyarrow's reader and bare
`write_deltalake`; `merge` is `DeltaTable.merge` by the same key with update and insert, without an order of versions.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet
from deltalake import DeltaTable, write_deltalake

from nilometer import operator, perform
from nilometer.client.testing.memory import MemoryObjects, MemoryStore
from nilometer.domain.events.outcome import Message
from nilometer.domain.lake.dataset import DeclareDataset, DeclaredColumn
from nilometer.flows.lake import datasets
from nilometer.lake.write.append import Lake

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
COLUMNS = {"id": "string", "seen": "timestamp", "workspace": "string", "amount": "double", "items": "int64"}
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "seen": pa.timestamp("us", "UTC"),
        "workspace": pa.string(),
        "amount": pa.float64(),
        "items": pa.int64(),
    }
)
# Of the peer's rate that ours must reach.
GOALS = {("append", "parquet"): 0.5, ("append", "ndjson"): 0.4, ("merge", "parquet"): 0.5}


class LandedObject:
    """One object of the landing prefix, in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def get(self, _key: str, **_pinned: object) -> bytes:
        return self.content


def orders(first: int, count: int, seen: datetime = NOW) -> pa.Table:
    """Rows as a shop would send them."""
    numbers = range(first, first + count)
    return pa.table(
        {
            "id": [f"order_{n:012}" for n in numbers],
            "seen": [seen + timedelta(milliseconds=n % 60_000) for n in numbers],
            "workspace": [f"ws_{n % 997:06}" for n in numbers],
            "amount": [n % 9973 / 7 for n in numbers],
            "items": [n % 12 for n in numbers],
        },
        schema=SCHEMA,
    )


def content(rows: pa.Table, form: str) -> bytes:
    if form == "parquet":
        sink = io.BytesIO()
        pyarrow.parquet.write_table(rows, sink)
        return sink.getvalue()
    return "\n".join(json.dumps(row | {"seen": row["seen"].isoformat()}) for row in rows.to_pylist()).encode()


def read(body: bytes, form: str) -> pa.Table:
    """As the peer reads it."""
    if form == "parquet":
        return pyarrow.parquet.read_table(io.BytesIO(body))
    return pyarrow.json.read_json(io.BytesIO(body)).cast(SCHEMA)


class Ours:
    """A dataset `orders` and its flow."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.store, self.lake = MemoryStore(), Lake(uri=str(folder), storage_options={})
        columns = [DeclaredColumn(name=name, type=type_) for name, type_ in COLUMNS.items()]  # type: ignore[arg-type]
        merge: dict[str, Any] = {"key": ["id"], "order_by": "seen"} if mode == "merge" else {}
        deed = DeclareDataset(dataset="orders", mode=mode, columns=columns, **merge)  # type: ignore[arg-type]
        perform(self.store, operator("benchmark"), deed, now=NOW)

    def land(self, number: int, body: bytes, form: str) -> float:
        data = {"dataset": "orders", "object": {"key": f"landing/{number}", "etag": "e", "format": form}}
        known = {"specversion": "1.0", "source": "/services/shop", "type": "dataset.batch_ready.v1"}
        event = {**known, "id": f"batch-{number}", "time": "2026-11-23T04:00:00Z", "data": data}
        own = {"version": "0", "id": str(number), "time": "2026-11-23T04:00:00Z", "source": "services.shop"}
        message = Message(str(number), json.dumps({**own, "detail-type": event["type"], "detail": event}))
        landing: Any = LandedObject(body)
        began = time.perf_counter()
        results = datasets.land(
            [message],
            store=self.store,
            objects=MemoryObjects(),  # type: ignore[arg-type]
            landing=landing,
            lake=self.lake,
            now=NOW,
            deadline=time.monotonic() + 60,
        )
        took = time.perf_counter() - began
        assert [one.outcome for one in results] == ["accepted"], results
        return took


def measure_append(folder: Path, form: str, rows: int, repeat: int) -> dict[str, Any]:
    """A first batch of its table and the next ones."""
    ours, table = Ours(folder / f"ours-{form}", "append"), str(folder / f"bare-{form}")
    write_deltalake(table, SCHEMA.empty_table())

    def bare(body: bytes) -> float:
        began = time.perf_counter()
        write_deltalake(table, read(body, form), mode="append")
        return time.perf_counter() - began

    return measured("append", form, rows, repeat, ours.land, bare, same=lambda n: orders(n * rows, rows))


def measure_merge(folder: Path, rows: int, repeat: int) -> dict[str, Any]:
    """A tenth of a table changes; both begin with the same rows."""
    ours, table = Ours(folder / "ours-merge", "merge"), str(folder / "bare-merge")
    write_deltalake(table, orders(0, rows * 10))
    ours.land(10**9, content(orders(0, rows * 10), "parquet"), "parquet")

    def bare(body: bytes) -> float:
        began = time.perf_counter()
        merger = DeltaTable(table).merge(read(body, "parquet"), "t.id = s.id", source_alias="s", target_alias="t")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()
        return time.perf_counter() - began

    def changed(number: int) -> pa.Table:
        return orders(number * rows % (rows * 10), rows, NOW + timedelta(hours=number + 1))

    return measured("merge", "parquet", rows, repeat, ours.land, bare, same=changed)


def measured(
    mode: str,
    form: str,
    rows: int,
    repeat: int,
    ours: Callable[[int, bytes, str], float],
    bare: Callable[[bytes], float],
    *,
    same: Callable[[int], pa.Table],
) -> dict[str, Any]:
    """Both in turns, so that they meet the same machine; medians."""
    mine, theirs = [], []
    for number in range(repeat + 1):
        body = content(same(number), form)
        mine.append(ours(number, body, form))
        theirs.append(bare(body))
    del mine[0], theirs[0]  # which load libraries
    goal, ratio = GOALS[mode, form], statistics.median(theirs) / statistics.median(mine)
    return {
        "mode": mode,
        "format": form,
        "rows": rows,
        "rows_per_second": round(rows / statistics.median(mine)),
        "peer_rows_per_second": round(rows / statistics.median(theirs)),
        "ratio": round(ratio, 2),
        "goal": goal,
        "reached": ratio >= goal,
    }


def measurements(folder: Path, rows: int, repeat: int) -> Iterator[dict[str, Any]]:
    """Each as it is done."""
    for form in ("parquet", "ndjson"):
        yield measure_append(folder, form, rows, repeat)
    yield measure_merge(folder, rows // 10, repeat)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="of a batch; a merge has a tenth of it")
    parser.add_argument("--repeat", type=int, default=9)
    given = parser.parse_args()
    folder, reached = Path(tempfile.mkdtemp(prefix="nilometer-bench-")), True
    for one in measurements(folder, given.rows, given.repeat):
        reached = reached and one["reached"]
        print(json.dumps(one), flush=True)
    shutil.rmtree(folder)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
