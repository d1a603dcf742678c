"""Whether more writers write more: `python -m benchmarks.writers [--batches 24] [--rows 10000] [--pause 0.05]`.

One, two, four and eight processes append batches of `usage` of the same ten minutes to one table in S3, on the local
engine, behind a proxy that holds each request back for `--pause` seconds, as S3 does. A line each: rows a second,
attempts, the CPU of the writers, the engine and the proxy for a batch and how busy that made this machine, and the rows
that are there more than once or not at all (none). Goal: four write at least three times as much as one.

Rows are packed, and in each writer's memory, before the clock starts, as a queue hands them over. On few cores the
engine and the writers share them: `cores_busy` near their number says that no further writer could help here, whatever
the table allows.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.lake import bodies, recent

from nilometer.aws.clients import client
from nilometer.aws.s3 import Objects
from nilometer.domain.lake.tables import USAGE
from nilometer.lake.read.query import query
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.tables.tables import open_or_create
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode_packed, joined
from nilometer.local.plane.engine import engine

GOAL = 3.0
BUCKET = "lake"
WRITERS = (1, 2, 4, 8)
USEFUL = 4
_spawn = multiprocessing.get_context("spawn")


def delay(upstream: str, pause: float, port: Any) -> None:
    """Forwards bytes; the first of each request wait."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, begins = urlsplit(upstream), True
        their_reader, their_writer = await asyncio.open_connection(there.hostname, there.port)

        async def requests() -> None:
            nonlocal begins
            while content := await reader.read(1 << 20):
                if begins:
                    await asyncio.sleep(pause)
                begins = False
                their_writer.write(content)
                await their_writer.drain()
            their_writer.close()

        async def answers() -> None:
            nonlocal begins
            while content := await their_reader.read(1 << 20):
                begins = not content.startswith(b"HTTP/1.1 100 ")
                writer.write(content)
                await writer.drain()
            writer.close()

        await asyncio.gather(requests(), answers(), return_exceptions=True)

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 22)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def write(uri: str, options: dict[str, str], batches: Path, work: Any, done: Any) -> None:
    """Those batches of the file whose numbers come, until None comes; how many attempts each took."""
    files = Objects(client("s3", endpoint_url=options["AWS_ENDPOINT_URL"]), bucket=BUCKET)
    lake = Lake(uri=uri, storage_options=options, files=files)
    waiting = json.loads(batches.read_bytes())
    done.put(0)  # ready
    while (number := work.get()) is not None:
        rows = joined([decode_packed(body)[1] for body in waiting[number]])
        done.put(lake.append(USAGE, rows, recorded_at=datetime.now(UTC), deadline=time.monotonic() + 120).attempts)


def cpu_seconds() -> float:
    """Of all processes below this one, while they live."""
    parents, used = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            values = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(values[1])
            used[int(path.parent.name)] = int(values[11]) + int(values[12])
    below = {os.getpid()}
    while more := {one for one, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(used[one] for one in below - {os.getpid()}) / os.sysconf("SC_CLK_TCK")


def measure(uri: str, options: dict[str, str], writers: int, batches: Path, many: int, rows: int) -> dict[str, Any]:
    """From the first batch to the last commit; each of the file's `many` batches has so many rows."""
    work, done = _spawn.Queue(), _spawn.Queue()
    open_or_create(uri, USAGE, options)
    running = [_spawn.Process(target=write, args=(uri, options, batches, work, done)) for _ in range(writers)]
    for process in running:
        process.start()
    for _ in running:
        done.get()
    started, used = time.perf_counter(), cpu_seconds()
    for number in range(many):
        work.put(number)
    attempts = [done.get() for _ in range(many)]
    took, used = time.perf_counter() - started, cpu_seconds() - used
    for _ in running:
        work.put(None)
    for process in running:
        process.join()
    sql = "select count(*), count(distinct event_id) from usage"
    [(stored, distinct)] = list(query(sql, lake_uri=uri, storage_options=options).rows)
    return {
        "writers": writers,
        "rows_per_second": round(many * rows / took),
        "seconds_a_batch": round(took * writers / many, 3),
        "cpu_seconds_a_batch": round(used / many, 3),
        "cores_busy": round(used / took, 2),
        "attempts": sum(attempts),
        "batches": many,
        "lost": many * rows - distinct,
        "twice": stored - distinct,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--pause", type=float, default=0.05)
    given = parser.parse_args()
    made = (bodies(n * given.rows, given.rows, recent(given.rows)) for n in range(given.batches))
    folder, port = Path(tempfile.mkdtemp(prefix="nilometer-writers-")), _spawn.Queue()
    batches = folder / "batches.json"
    batches.write_text(json.dumps([[one.body for one in batch] for batch in made]))
    with engine(port=0, data=folder, log=folder / "log") as running:
        os.environ.update(running.environment)
        client("s3").create_bucket(Bucket=BUCKET)
        proxy = _spawn.Process(target=delay, args=(running.endpoint_url, given.pause, port), daemon=True)
        proxy.start()
        options = storage_options(os.environ | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port.get()}"})
        found = [
            measure(f"s3://{BUCKET}/{writers}", options, writers, batches, given.batches, given.rows)
            for writers in WRITERS
        ]
        proxy.kill()
    shutil.rmtree(folder)
    for one in found:
        one["times_one"] = round(one["rows_per_second"] / found[0]["rows_per_second"], 2)
        print(json.dumps(one), flush=True)
    [useful] = [one["times_one"] for one in found if one["writers"] == USEFUL]
    met = useful >= GOAL and not any(one["lost"] or one["twice"] for one in found)
    goal = f"{USEFUL} writers at least {GOAL} times one, none lost or twice"
    print(json.dumps({"goal": goal, "pause": given.pause, "cores": os.cpu_count(), "met": met}))
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
