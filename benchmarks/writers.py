"""Whether more writers write more: `python benchmarks/writers.py [--batches 24] [--rows 10000] [--pause 0.03]`.

One, two and four processes append batches of `usage` of the same ten minutes to one table in S3, on the local engine,
behind a proxy that holds each request back for `--pause` seconds, as S3 does. A line each: rows a second, attempts,
and the rows that are there more than once or not at all (none). Goal: four write at least three times as much as one.
On few cores the engine and the writers share them, so the pause must be long beside what a batch costs them.
"""

from __future__ import annotations

import argparse
import asyncio
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
from nilometer.domain.lake.tables import USAGE
from nilometer.lake.read.query import query
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.tables.tables import open_or_create
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode_packed, joined
from nilometer.local.plane.engine import engine

GOAL = 3.0
WRITERS = (1, 2, 4)
_spawn = multiprocessing.get_context("spawn")


def delay(upstream: str, pause: float, port: Any) -> None:
    """Forwards bytes; what a client sends waits, what it gets does not."""

    async def forwarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held: float) -> None:
        while content := await reader.read(1 << 20):
            await asyncio.sleep(held)
            writer.write(content)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = urlsplit(upstream)
        their_reader, their_writer = await asyncio.open_connection(there.hostname, there.port)
        ways = forwarded(reader, their_writer, pause), forwarded(their_reader, writer, 0)
        await asyncio.gather(*ways, return_exceptions=True)

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def write(uri: str, options: dict[str, str], work: Any, done: Any, rows: int) -> None:
    """Batches by their number, until there is none; how many attempts they took."""
    lake = Lake(uri=uri, storage_options=options)
    done.put(0)  # ready
    while (number := work.get()) is not None:
        batch = joined([decode_packed(one.body)[1] for one in bodies(number * rows, rows, recent(rows))])
        done.put(lake.append(USAGE, batch, recorded_at=datetime.now(UTC), deadline=time.monotonic() + 120).attempts)


def measure(uri: str, options: dict[str, str], writers: int, batches: int, rows: int) -> dict[str, Any]:
    """Seconds from the first batch to the last commit; making the rows is part of it, as reading a queue is."""
    work, done = _spawn.Queue(), _spawn.Queue()
    open_or_create(uri, USAGE, options)
    running = [_spawn.Process(target=write, args=(uri, options, work, done, rows)) for _ in range(writers)]
    for process in running:
        process.start()
    for _ in running:
        done.get()
    started = time.perf_counter()
    for number in range(batches):
        work.put(number)
    attempts = [done.get() for _ in range(batches)]
    took = time.perf_counter() - started
    for _ in running:
        work.put(None)
    for process in running:
        process.join()
    sql = "select count(*), count(distinct event_id) from usage"
    [(stored, distinct)] = list(query(sql, lake_uri=uri, storage_options=options).rows)
    return {
        "writers": writers,
        "rows_per_second": round(batches * rows / took),
        "seconds_a_batch": round(took * writers / batches, 3),
        "attempts": sum(attempts),
        "batches": batches,
        "lost": batches * rows - distinct,
        "twice": stored - distinct,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--pause", type=float, default=0.03)
    given = parser.parse_args()
    folder, port = Path(tempfile.mkdtemp(prefix="nilometer-writers-")), _spawn.Queue()
    with engine(port=0, data=folder, log=folder / "log") as running:
        os.environ.update(running.environment)
        client("s3").create_bucket(Bucket="lake")
        proxy = _spawn.Process(target=delay, args=(running.endpoint_url, given.pause, port), daemon=True)
        proxy.start()
        options = storage_options(os.environ | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port.get()}"})
        found = [measure(f"s3://lake/{writers}", options, writers, given.batches, given.rows) for writers in WRITERS]
        proxy.kill()
    shutil.rmtree(folder)
    for one in found:
        one["times_one"] = round(one["rows_per_second"] / found[0]["rows_per_second"], 2)
        print(json.dumps(one), flush=True)
    met = found[-1]["times_one"] >= GOAL and not any(one["lost"] or one["twice"] for one in found)
    print(json.dumps({"goal": f"{WRITERS[-1]} writers at least {GOAL} times one, none lost or twice", "met": met}))
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
