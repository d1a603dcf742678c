"""What an analyst's questions cost: `python -m benchmarks.analyst [--rows 5000000] [--days 30] [--ids sequential]`.

Three questions to `usage` on local disk, a compacted file a day, beside the best that reads the same files: Polars,
DuckDB's `read_parquet` and, where DuckDB has its Delta extension (`--install` fetches it), `delta_scan`. Each engine
answers in a process of its own, in turns: the first answer, with import and opening the table; the median of those
after it, of a table that is open, and of their CPU, which other processes disturb less; and the largest memory of the
process. Exit code 1 when a goal is missed.

Ids are random, as those of requests are: then the smallest and the largest of a file say nothing about an id. Ids that
grow with time (`--ids sequential`) lie in one file, and the log says in which.
"""

# ruff: noqa: PLC0415  # each engine is imported in a process of its own
from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from benchmarks.lake import DAY, NOW, START, id_of, row

GOAL, GOAL_MB = 1.2, 250
ROUNDS, ANSWERS = 3, 5
CHUNK = 20_000
FIRST_DAY = datetime.fromtimestamp(START, NOW.tzinfo).date()

Answering = Callable[[str], list[tuple[Any, ...]]]

SQL = {
    "day report": "select event_date, workspace_id, sum(quantity) from {usage} group by all",
    "one day": "select workspace_id, sum(quantity) from {usage} where event_date = date '{day}' group by all",
    "one id": "select workspace_id, quantity from {usage} where event_id = '{id}'",
}
IDS: Mapping[str, Callable[[int], str]] = {
    "random": lambda number: f"req_{id_of(number)}",
    "sequential": lambda number: f"req_{number:024x}",
}


def fill(folder: Path, rows: int, days: int, naming: Callable[[int], str]) -> None:
    """`rows` of `usage` in the `days` before the first day of the other benchmarks, a file each."""
    from deltalake import write_deltalake

    from nilometer.domain.lake.tables import USAGE
    from nilometer.lake.tables.tables import open_or_create
    from nilometer.lake.write.append import writer_properties
    from nilometer.lake.write.rows import decode, joined, to_arrow

    table, each = open_or_create(str(folder), USAGE, {}), rows // days
    for day in range(days):
        first, starts = day * each, START - (day + 1) * DAY
        made = [row(first + n, starts + n * DAY // each) | {"event_id": naming(first + n)} for n in range(each)]
        parts = [decode(USAGE, json.dumps(made[at : at + CHUNK]).encode()) for at in range(0, each, CHUNK)]
        arrow = to_arrow(USAGE, joined(parts), recorded_at=NOW)
        write_deltalake(table, arrow, mode="append", writer_properties=writer_properties(USAGE))


def questions(rows: int, days: int, naming: Callable[[int], str]) -> Mapping[str, str]:
    """With a day and an id from the middle."""
    day = FIRST_DAY - timedelta(days=days // 2)
    return {name: sql.replace("{day}", str(day)).replace("{id}", naming(rows // 2)) for name, sql in SQL.items()}


def ours(folder: str) -> Answering:
    """As an analyst's notebook has it."""
    import nilometer.lake

    connection = nilometer.lake.connect(folder)
    return lambda sql: connection.execute(sql.format(usage="usage")).fetchall()


def read_parquet(folder: str) -> Answering:
    """DuckDB, given the files of the log."""
    import duckdb
    from deltalake import DeltaTable

    connection, files = duckdb.connect(), DeltaTable(f"{folder}/usage").file_uris()
    usage = f"read_parquet({files!r}, hive_partitioning = true, hive_types = {{'event_date': DATE}})"
    return lambda sql: connection.execute(sql.replace("{usage}", usage)).fetchall()


def delta_scan(folder: str) -> Answering:
    """DuckDB's own reader of Delta."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("LOAD delta")
    return lambda sql: connection.execute(sql.format(usage=f"delta_scan('{folder}/usage')")).fetchall()


def polars(folder: str) -> Answering:
    """The same question in its own language."""
    import polars as pl

    usage, quantity = pl.scan_delta(f"{folder}/usage"), pl.col("quantity").sum()

    def asked(sql: str) -> Any:
        if "group by" not in sql:
            return usage.filter(pl.col("event_id") == sql.split("'")[1]).select("workspace_id", "quantity")
        if "where" not in sql:
            return usage.group_by("event_date", "workspace_id").agg(quantity)
        day = date.fromisoformat(sql.split("'")[1])
        return usage.filter(pl.col("event_date") == day).group_by("workspace_id").agg(quantity)

    return lambda sql: cast("list[tuple[Any, ...]]", asked(sql).collect().rows())


ENGINES: Mapping[str, Callable[[str], Answering]] = {
    each.__name__: each for each in (ours, polars, read_parquet, delta_scan)
}


def answer(engine: str, folder: str, sql: str) -> dict[str, Any]:
    """In this process: seconds of each answer, the first with import and opening; its sum, and the memory."""
    seconds, cpu, started, used = [], [], time.perf_counter(), time.process_time()
    answering = ENGINES[engine](folder)
    for _ in range(ANSWERS):
        rows = answering(sql)
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
        started, used = time.perf_counter(), time.process_time()
    total = sum((Decimal(one[-1]) for one in rows), Decimal(0))
    return {"seconds": seconds, "cpu": cpu, "rows": len(rows), "total": str(total), "mb": peak_mb()}


def peak_mb() -> float:
    """The largest memory of this process so far. `ru_maxrss` of a child begins with what its parent had, which may have
    filled the lake: so it is asked only where the kernel says nothing of a process of its own (macOS, in bytes)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) / 1024


def ask(engine: str, folder: str, sql: str) -> dict[str, Any] | None:
    """In a fresh process; None when the engine is not here."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.analyst", "--engine", engine, "--folder", folder, "--sql", sql],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and engine == delta_scan.__name__:
        return None
    assert not done.returncode, done.stderr
    answered: dict[str, Any] = json.loads(done.stdout)
    return answered


def measure(question: str, sql: str, folder: str) -> bool:
    """Prints a line an engine; whether the goal is met."""
    answers: dict[str, list[dict[str, Any]]] = {}
    for _ in range(ROUNDS):
        for engine in ENGINES:
            if answered := ask(engine, folder, sql):
                answers.setdefault(engine, []).append(answered)
    assert len({(one["rows"], one["total"]) for some in answers.values() for one in some}) == 1, answers
    warm, cpu = (
        {name: statistics.median(t for one in some for t in one[of][1:]) for name, some in answers.items()}
        for of in ("seconds", "cpu")
    )
    first = {name: statistics.median(one["seconds"][0] for one in some) for name, some in answers.items()}
    memory = {name: statistics.median(one["mb"] for one in some) for name, some in answers.items()}
    best = min((name for name in warm if name != ours.__name__), key=warm.__getitem__)
    ratio = warm[ours.__name__] / warm[best]
    met = ratio <= GOAL and memory[ours.__name__] <= GOAL_MB
    milliseconds = {
        name: f"{1000 * warm[name]:.0f} ms, CPU {1000 * cpu[name]:.0f}, first {1000 * first[name]:.0f}" for name in warm
    }
    figures = {name: f"{said}, {memory[name]:.0f} MB" for name, said in milliseconds.items()}
    goal = f"at most {GOAL} of the best, {GOAL_MB} MB"
    print(
        json.dumps({"question": question, **figures, "best": best, "ratio": round(ratio, 2), "goal": goal, "met": met})
    )
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--ids", choices=IDS, default="random", help="of the events")
    parser.add_argument("--folder", help="a lake that is filled already, or is to be filled and kept")
    parser.add_argument("--install", action="store_true", help="fetch DuckDB's Delta extension")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--sql", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        print(json.dumps(answer(given.engine, given.folder, given.sql)))
        return
    if given.install:
        import duckdb

        duckdb.execute("INSTALL delta")
    folder, naming = Path(given.folder or tempfile.mkdtemp(prefix="nilometer-analyst-")), IDS[given.ids]
    try:
        if not (folder / "usage").exists():
            fill(folder, given.rows, given.days, naming)
        met = [measure(name, sql, str(folder)) for name, sql in questions(given.rows, given.days, naming).items()]
    finally:
        if not given.folder:
            shutil.rmtree(folder)
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
