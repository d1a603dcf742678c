"""What the lake costs: `python benchmarks/lake.py [--sizes 500000,1000000,2000000,5000000] [--commits 2000]`.

One JSON line a measurement. On local disk, so that it measures the writer and not a network.

* write: a batch from SQS JSON to commit, as a ratio of DuckDB's copy of the same JSON to Parquet (goal: 0.5), and of
  bare `write_deltalake` of ready Arrow.
* anti-join: which keys of a batch are among a million rows of the same seconds (goal: 50 ms). Ids are random. Another
  writer adds a batch before each question, as happens; `first` is the question of a process that has read nothing yet.
* packing: what rows cost to pack, and how long they are on the way.
* size: the same batch at growing tables, beside an insert-only MERGE.
* log: opening and appending after many commits.
* compaction: a day's query before and after.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from nilometer.aws.clients import client
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import AuditKeys
from nilometer.domain.events.outcome import Message
from nilometer.domain.lake.proof import PROVEN_COLUMNS
from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS, USAGE, Type
from nilometer.domain.lake.tables import DeltaTable as Declared
from nilometer.flows.lake import append as flow
from nilometer.flows.lake.packed import pack, unpack
from nilometer.flows.lake.proof import signed
from nilometer.lake.read.query import query
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.tables.tables import open_or_create, table_uri
from nilometer.lake.write import maintenance
from nilometer.lake.write.append import Lake, writer_properties
from nilometer.lake.write.known import stored_keys
from nilometer.lake.write.rows import decode, decode_packed, identities, joined, to_arrow
from nilometer.local.plane.counting import CountingProxy
from nilometer.local.plane.engine import engine

DAY = 86_400
START = 1_795_392_000  # 2026-11-23
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROWS_A_MESSAGE = 1000
GOAL_OF_COPY = 0.5
GOAL_OF_ANTIJOIN = 0.05  # seconds
DUCKDB_TYPES = {
    Type.STRING: "VARCHAR",
    Type.JSON: "JSON",
    Type.INT64: "BIGINT",
    Type.TIMESTAMP: "TIMESTAMPTZ",
    Type.DECIMAL: "DECIMAL(24,9)",
    Type.BOOL: "BOOLEAN",
}


def id_of(number: int) -> str:
    """The same for the same number, and in no order, as ids of requests are: what is smallest and largest of some says
    nothing about another one."""
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()[:24]


def row(number: int, created: int) -> dict[str, Any]:
    time_ = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
    return {
        "event_id": f"req_{id_of(number)}",
        "source": "/services/inference",
        "type": "usage.recorded.v1",
        "workspace_id": f"ws_{number % 997:06}",
        "meter": "llm_tokens",
        "quantity": str(number % 10_000),
        "unit": "token",
        "dimensions": {"model": "m-large", "region": "eu-central-1"},
        "time": time_,
        "created": created,
        "period_start": "2026-11-01T00:00:00Z",
        "received_at": time_,
    }


def stripe_row(number: int, created: int) -> dict[str, Any]:
    """An event of 3 KB, of which half is the same in each."""
    noise = hashlib.sha512(str(number).encode()).hexdigest()
    time_ = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
    payload = {f"field_{n}": noise[n * 8 : n * 8 + 40] for n in range(16)} | {"same": ["subscription_item"] * 90}
    return {
        "event_id": f"evt_{id_of(number)}",
        "type": "customer.subscription.updated",
        "account": "self",
        "livemode": True,
        "api_version": "2026-10-28.endive",
        "created": created,
        "created_at": time_,
        "object_type": "subscription",
        "object_id": f"sub_{number % 9973}",
        "customer_id": f"cus_{number % 9973}",
        "source": "webhook",
        "received_at": time_,
        "payload": payload,
    }


def change_row(number: int, created: int) -> dict[str, Any]:
    """A change of a counter, as most are."""
    time_ = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
    image = {"kind": "counter", "meter": "llm_tokens", "period": "2026-11-01", "value": number, "version": number % 997}
    return {
        "change_id": hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest(),
        "table_name": "records",
        "kind": "counter",
        "pk": f"WORKSPACE#ws_{number % 997:06}",
        "sk": "COUNTER#llm_tokens#2026-11-01#0",
        "workspace_id": f"ws_{number % 997:06}",
        "action": "MODIFY",
        "changed_fields": ["value", "version"],
        "old_image": image,
        "new_image": image | {"value": number + 1},
        "actor": "nilometer.usage",
        "cause": f"req_{number:024x}",
        "sequence_number": f"{number:040}",
        "occurred_at": time_,
        "created": created,
    }


KEYS = AuditKeys(lambda: "k" * 64)
ROWS = {USAGE: row, STRIPE_EVENTS: stripe_row, AUDIT: change_row}


def bodies(first: int, count: int, created: Callable[[int], int], table: Declared = USAGE) -> list[Message]:
    """A batch as SQS delivers it, packed."""
    rows = rows_of(first, count, created, table)
    if table is AUDIT:
        rows = [signed(dict.fromkeys(PROVEN_COLUMNS) | row, msgspec.json.encode, KEYS.current()[0]) for row in rows]
    contents = [msgspec.json.encode(row, order="deterministic") for row in rows]
    packs = [pack(table.name, contents[at : at + ROWS_A_MESSAGE]) for at in range(0, count, ROWS_A_MESSAGE)]
    return [Message(str(n), body) for n, body in enumerate(chain.from_iterable(packs))]


def rows_of(first: int, count: int, created: Callable[[int], int], table: Declared) -> list[dict[str, Any]]:
    return [ROWS[table](n, created(n - first)) for n in range(first, first + count)]


def single(messages: list[Message]) -> list[Message]:
    """Packed changes as they come over the bus: each an event of its own."""
    rows = [row for message in messages for row in unpack(msgspec.json.decode(message.body, type=_Columns).columns)]
    return [Message(str(n), f'{{"type":"{flow.AUDIT_TYPE}","data":{row.decode()}}}') for n, row in enumerate(rows)]


class _Columns(msgspec.Struct):
    columns: msgspec.Raw


def recent(count: int) -> Callable[[int], int]:
    """Event times of the last ten minutes of the day: what a batch is made of."""
    return lambda n: START + DAY - 600 + n * 600 // count


def land(lake: Lake, messages: list[Message]) -> float:
    started = time.perf_counter()
    # No row is wrong here, so nothing is ever put into a bucket.
    results = flow.append(messages, lake=lake, objects=None, keys=KEYS, now=NOW, deadline=time.monotonic() + 60)  # type: ignore[arg-type]
    took = time.perf_counter() - started
    assert {result.outcome for result in results} == {"accepted"}, results
    return took


def ready(messages: list[Message], table: Declared = USAGE, recorded_at: datetime = NOW) -> Any:
    return to_arrow(table, joined([decode_packed(message.body)[1] for message in messages]), recorded_at=recorded_at)


def measure_write(folder: Path, table: Declared, batch: int, repeat: int) -> dict[str, Any]:
    """Ours into a table that holds as many rows of the same seconds; DuckDB's copy of the same rows, as JSON lines, to
    Parquet; and bare, in turns, so that all meet the same weather; medians."""
    messages, source = bodies(0, batch, recent(batch), table), folder / f"{table.name}.json"
    source.write_bytes(b"\n".join(map(msgspec.json.encode, rows_of(0, batch, recent(batch), table))))
    arrow, stored = ready(messages, table), ready(bodies(10**9, batch, recent(batch), table), table)
    times: dict[str, list[float]] = {"ours": [], "copy": [], "bare": [], "single": []}
    for n in range(repeat):
        for name in ("ours", "single") if table is AUDIT else ("ours",):
            lake = Lake(uri=str(folder / f"{name}{n}"), storage_options={})
            _write(open_or_create(lake.uri, table, {}), table, stored)
            times[name].append(land(lake, messages if name == "ours" else single(messages)))
        times["copy"].append(_copy(source, folder / f"{table.name}{n}.parquet", table))
        times["bare"].append(_write(open_or_create(str(folder / f"bare{n}"), table, {}).table_uri, table, arrow))
    seconds = {name: statistics.median(some) for name, some in times.items() if some}
    ratio = seconds["copy"] / seconds["ours"]
    return {
        "measure": "write",
        "table": table.name,
        "rows": batch,
        "rows_per_second": {name: round(batch / took) for name, took in seconds.items()},
        "of_bare": round(seconds["bare"] / seconds["ours"], 2),
        "of_duckdb_copy": round(ratio, 2),
        "goal": GOAL_OF_COPY,
        "met": ratio >= GOAL_OF_COPY,
    }


def _copy(source: Path, target: Path, table: Declared) -> float:
    """DuckDB knows the columns, and opens and closes a database as whoever copies a file does."""
    columns = {column.name: DUCKDB_TYPES[column.type] for column in table.columns if not column.stamped}
    started = time.perf_counter()
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (from read_json('{source}', columns = {columns}, format = 'newline_delimited'))"
            f" to '{target}' (format parquet, compression zstd, compression_level 1)"
        )
    return time.perf_counter() - started


def _write(place: str | DeltaTable, table: Declared, arrow: Any) -> float:
    started = time.perf_counter()
    write_deltalake(place, arrow, mode="append", writer_properties=writer_properties(table))
    return time.perf_counter() - started


def measure_antijoin(folder: Path, stored: int, batch: int, repeat: int) -> dict[str, Any]:
    """What it takes to find which keys of a batch, of which 10 are stored, lie among so many rows of its own seconds,
    in files of 50,000 and those of the batches of other writers; each is recorded a second after the one before."""
    table, step, seconds = open_or_create(str(folder / "antijoin"), USAGE, {}), 50_000, itertools.count()

    def add(first: int, count: int) -> None:
        recorded_at = NOW + timedelta(seconds=next(seconds))
        _write(table, USAGE, ready(bodies(first, count, recent(count)), recorded_at=recorded_at))

    for at in range(0, stored, step):
        add(at, step)
    known = bodies(stored // 2 - stored // 2 % step, 10, lambda _: START + DAY - 600)
    wall, cpu = [], []
    for n in range(1, repeat + 2):
        rows = joined([decode_packed(one.body)[1] for one in (*bodies(n * 10**9, batch - 10, recent(batch)), *known)])
        started, used = time.perf_counter(), time.process_time()
        keys, before = set(identities(rows.key)), table.file_uris()
        found = stored_keys(table, USAGE, rows, lambda keys=keys: keys)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
        assert len(found) == 10, found
        add(n * 10**9 + batch, batch)
    took = statistics.median(wall[1:])
    peer = statistics.median(_semi_join(before, rows.key) for _ in range(3))
    return {
        "measure": "anti-join",
        "stored": stored,
        "seconds": round(took, 4),
        "least_seconds": round(min(wall[1:]), 4),
        "cpu_seconds": round(statistics.median(cpu[1:]), 4),
        "first_seconds": round(wall[0], 4),
        "first_cpu_seconds": round(cpu[0], 4),
        "duckdb_seconds": round(peer, 4),
        "goal": GOAL_OF_ANTIJOIN,
        "met": took <= GOAL_OF_ANTIJOIN,
    }


def _semi_join(files: Sequence[str], key: Sequence[Iterable[str]]) -> float:
    """The same question by DuckDB, which reads the ids of all files each time."""
    batch = pa.table(dict(zip(USAGE.key, map(list, key), strict=True)))
    asked = "select event_id from read_parquet($files) semi join batch using (source, event_id)"
    started = time.perf_counter()
    with duckdb.connect() as connection:
        connection.register("batch", batch)
        assert len(connection.execute(asked, {"files": list(files)}).fetchall()) == 10
    return time.perf_counter() - started


def measure_packing(table: Declared, batch: int, repeat: int) -> dict[str, Any]:
    """What packing costs the changes flow and saves the queue, beside rows one after the other."""
    created = recent(batch)
    rows = [json.dumps(ROWS[table](n, created(n)), separators=(",", ":")).encode() for n in range(ROWS_A_MESSAGE)]
    times = []
    for _ in range(repeat):
        started = time.process_time()
        packed = list(pack(table.name, rows))
        times.append(time.process_time() - started)
    return {
        "measure": "packing",
        "table": table.name,
        "microseconds_a_row": round(statistics.median(times) / len(rows) * 1e6, 1),
        "bytes_a_row": round(sum(map(len, packed)) / len(rows)),
        "bytes_a_row_unpacked": round(sum(map(len, rows)) / len(rows)) + 1,
    }


def fill(lake: Lake, first: int, count: int) -> None:
    """Thirty closed days, compacted and checkpointed as maintenance leaves them."""
    table = open_or_create(lake.uri, USAGE, lake.storage_options)
    step = 50_000
    for at in range(first, first + count, step):
        rows = [row(n, START - (n * 7919) % (30 * DAY) - 1) for n in range(at, min(at + step, first + count))]
        arrow = to_arrow(USAGE, decode(USAGE, json.dumps(rows).encode()), recorded_at=NOW)
        write_deltalake(table, arrow, mode="append", writer_properties=writer_properties(USAGE))
    for part in maintenance.worth_compacting(maintenance.days(table), today=date(2026, 11, 25)):
        maintenance.compact(table, USAGE, part.day)
    maintenance.clean(DeltaTable(table.table_uri, storage_options=lake.storage_options))


def measure_sizes(lake: Lake, sizes: list[int], batch: int, merge: bool, proxy: Any = None) -> Iterator[dict[str, Any]]:
    """`proxy` counts requests and bytes. Every size begins with a fresh day: what grows is what lies behind it."""
    stored, number = 0, 10**12
    for nth, size in enumerate(sizes):
        fill(lake, stored, size - stored)
        stored, today = size, nth * DAY
        times, merged = [], None
        for _ in range(3):
            messages = bodies(number, batch, lambda n, today=today: recent(batch)(n) + today)
            number += batch
            if proxy:
                proxy.reset()
            times.append(land(lake, messages))
        cost = (
            {"requests": (counted := proxy.counts()).requests, "mb_read": round(counted.read / 1e6, 2)} if proxy else {}
        )
        if merge:
            arrow = ready(bodies(number, batch, lambda n, today=today: recent(batch)(n) + today))
            number += batch
            if proxy:
                proxy.reset()
            merged = round(_merge(lake, arrow), 3)
            counted = proxy.counts() if proxy else None
            cost |= (
                {"merge_requests": counted.requests, "merge_mb_read": round(counted.read / 1e6, 2)} if counted else {}
            )
        yield {
            "measure": "size in S3" if proxy else "size",
            "stored": size,
            "seconds": round(statistics.median(times), 3),
            "merge_seconds": merged,
            **cost,
        }


def _merge(lake: Lake, arrow: Any) -> float:
    """Insert-only, by key alone: what a lake writer is usually told to do."""
    started = time.perf_counter()
    predicate = "t.source = s.source AND t.event_id = s.event_id"
    table = DeltaTable(table_uri(lake.uri, "usage"), storage_options=lake.storage_options)
    merger = table.merge(arrow, predicate, source_alias="s", target_alias="t")
    merger.when_not_matched_insert_all().execute()
    return time.perf_counter() - started


def measure_sizes_in_s3(sizes: list[int], batch: int, merge: bool) -> Iterator[dict[str, Any]]:
    """On the engine of `nilometer local`. Requests and bytes are S3's; seconds are this machine's."""
    folder = Path(tempfile.mkdtemp(prefix="nilometer-bench-s3-"))
    with engine(port=0, data=folder, log=folder / "log") as running:
        os.environ.update(running.environment)
        client("s3").create_bucket(Bucket="lake")
        with CountingProxy(running.endpoint_url) as proxy:
            options = storage_options(os.environ | {"AWS_ENDPOINT_URL": proxy.url})
            files = Objects(client("s3", endpoint_url=proxy.url), bucket="lake")
            lake = Lake(uri="s3://lake/sizes", storage_options=options, files=files)
            yield from measure_sizes(lake, sizes, batch, merge, proxy)
    shutil.rmtree(folder)


def measure_log(folder: Path, commits: int, upkeep_after: int) -> Iterator[dict[str, Any]]:
    """`upkeep_after` so many commits, an hour's at one each 20 seconds; 0 is never."""
    lake = Lake(uri=str(folder / f"log{upkeep_after}"), storage_options={})
    upkeep = maintenance.Upkeep(today=date(2026, 11, 23), out_of_time=lambda: False)
    marks = {commits * part // 4 for part in range(1, 5)}
    recent_times: list[float] = []
    for n in range(1, commits + 1):
        recent_times = [*recent_times[-19:], land(lake, bodies(n * 10, 10, lambda _, n=n: START + n * 40))]
        if upkeep_after and n % upkeep_after == 0:
            upkeep.run(USAGE, lake_uri=lake.uri, storage_options={})
        if n in marks:
            started = time.perf_counter()
            DeltaTable(table_uri(lake.uri, "usage"))
            opened = time.perf_counter() - started
            size = sum(path.stat().st_size for path in Path(lake.uri, "usage", "_delta_log").iterdir())
            yield {
                "measure": "log",
                "upkeep_after": upkeep_after,
                "commits": n,
                "append_seconds": round(statistics.median(recent_times), 4),
                "open_seconds": round(opened, 4),
                "log_bytes": size,
            }
    yield measure_compaction(lake)


def measure_compaction(lake: Lake) -> dict[str, Any]:
    def ask() -> float:
        started = time.perf_counter()
        sql = "select workspace_id, sum(quantity) from usage where event_date = date '2026-11-23' group by all"
        list(query(sql, lake_uri=lake.uri, storage_options={}).rows)
        return time.perf_counter() - started

    table = DeltaTable(table_uri(lake.uri, "usage"))
    before, files = ask(), len(table.file_uris())
    for day in maintenance.days(table):
        maintenance.compact(table, USAGE, day.day)
    return {
        "measure": "compaction",
        "files_before": files,
        "files_after": len(table.file_uris()),
        "query_before": round(before, 3),
        "query_after": round(ask(), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--sizes", default="50000,100000,200000,400000", help="rows stored, growing")
    parser.add_argument("--same-seconds", type=int, default=1_000_000, help="rows that the anti-join looks through")
    parser.add_argument("--commits", type=int, default=400)
    parser.add_argument("--s3", action="store_true", help="count requests and bytes on the local engine's S3 too")
    parser.add_argument("--no-merge", action="store_true")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="nilometer-bench-"))
    try:
        print(json.dumps({"cpus": os.cpu_count(), "python": sys.version.split()[0]}), flush=True)
        for table in ROWS:
            print(json.dumps(measure_write(folder, table, given.batch, given.repeat)), flush=True)
        print(json.dumps(measure_antijoin(folder, given.same_seconds, given.batch, given.repeat)), flush=True)
        for table in (USAGE, STRIPE_EVENTS):
            print(json.dumps(measure_packing(table, given.batch, given.repeat)), flush=True)
        sizes = [int(size) for size in given.sizes.split(",")]
        lake = Lake(uri=str(folder / "sizes"), storage_options={})
        for measured in measure_sizes(lake, sizes, given.batch, not given.no_merge):
            print(json.dumps(measured), flush=True)
        for measured in measure_sizes_in_s3(sizes, given.batch, not given.no_merge) if given.s3 else ():
            print(json.dumps(measured), flush=True)
        for upkeep_after in (0, 180):
            for measured in measure_log(folder, given.commits, upkeep_after):
                print(json.dumps(measured), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
