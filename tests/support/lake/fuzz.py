"""Faults over one table (`tests.support.lake.storms`): writers killed, answers lost, batches regrouped and repeated.

`python -m tests.support.lake.fuzz --uri DIR --events 50000 --batch 200` prints one JSON line: how many ids are due,
stored, lost and twice, and how hard it was. It runs in a process of its own and never opens a table before it forks,
so that writers start in milliseconds. `--endpoint` puts a faulty proxy between the writers and S3. `--plain` leaves
the protocol out, to show that the storm is one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import date
from multiprocessing.connection import Connection, wait
from typing import Any

from deltalake.exceptions import CommitFailedError, DeltaError
from tests.support.lake.proxy import LATEST, Faults, FaultyProxy
from tests.support.lake.storms import SUBJECTS, Content, Size, Subject

from nilometer.aws.clients import client
from nilometer.aws.s3 import Objects
from nilometer.errors import Unavailable
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.write import known, remembered
from nilometer.lake.write.append import Lake

_fork = multiprocessing.get_context("fork")


@dataclass(kw_only=True)
class Storm:
    uri: str
    subject: str = "usage"
    endpoint: str | None = None
    events: int = 2000
    batch: int = 25
    days: int = 4
    writers: int = 3
    seed: int = 1
    kill: float = 0.15
    lose: float = 0.1
    plain: bool = False

    @property
    def over(self) -> Subject:
        return SUBJECTS[self.subject]

    @property
    def size(self) -> Size:
        return Size(events=self.events, batch=self.batch, days=self.days)

    @property
    def lake(self) -> Lake:
        if not self.endpoint:
            return Lake(uri=self.uri, storage_options={})
        bucket = self.uri.split("/")[2]
        return Lake(
            uri=self.uri, storage_options=storage_options(os.environ), files=Objects(client("s3"), bucket=bucket)
        )


@dataclass
class Worker:
    """A process that appends what it is given, until somebody kills it."""

    process: Any
    pipe: Connection
    batch: Content | None = None
    dies_at: float | None = None


@dataclass
class Tally:
    killed: int = 0
    failed: int = 0
    compactors_killed: int = 0
    faults: Counter[str] = field(default_factory=Counter)


def run(storm: Storm) -> dict[str, Any]:
    chance = random.Random(storm.seed)
    todo = deque(batches(storm))
    tally = Tally()
    if storm.endpoint:
        client("s3")  # made once: a fork has it, and makes connections of its own
    started = time.monotonic()
    compactor = _start_compactor(storm)
    workers = [_start(storm, chance) for _ in range(storm.writers)]
    while todo or any(worker.batch for worker in workers):
        for worker in workers:
            if worker.batch is None and todo:
                _hand_over(worker, todo.popleft(), storm, chance)
        _collect(workers, todo, tally)
        workers = [_survive(worker, storm, todo, tally, chance) for worker in workers]
        if chance.random() < 0.003:
            _kill(compactor)
            tally.compactors_killed += 1
            compactor = _start_compactor(storm)
    for process in (compactor, *(worker.process for worker in workers)):
        _kill(process)
    return {"seconds": round(time.monotonic() - started, 1), **vars(tally)}


def _hand_over(worker: Worker, batch: Content, storm: Storm, chance: random.Random) -> None:
    worker.batch = batch
    worker.pipe.send_bytes(json.dumps(batch).encode())
    if worker.dies_at is None and chance.random() < storm.kill:
        worker.dies_at = time.monotonic() + chance.uniform(0, 0.15)  # in this batch, or in a later one if it is quick


def _collect(workers: list[Worker], todo: deque[Content], tally: Tally) -> None:
    """An acknowledged batch is done; a failed one comes again later, as SQS would bring it."""
    for pipe in wait([worker.pipe for worker in workers], timeout=0.01):
        worker = next(each for each in workers if each.pipe is pipe)
        try:
            done = worker.pipe.recv()
        except EOFError:
            continue
        if not done and worker.batch:
            tally.failed += 1
            todo.append(worker.batch)
        worker.batch = None


def _survive(worker: Worker, storm: Storm, todo: deque[Content], tally: Tally, chance: random.Random) -> Worker:
    if worker.dies_at is None or time.monotonic() < worker.dies_at:
        return worker
    _kill(worker.process)
    tally.killed += 1
    if worker.batch:
        todo.append(worker.batch)
    return _start(storm, chance)


def _kill(process: Any) -> None:
    process.kill()
    process.join()


def _start(storm: Storm, chance: random.Random) -> Worker:
    ours, theirs = _fork.Pipe()
    process = _fork.Process(target=_write, args=(storm, theirs, chance.random()), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def _write(storm: Storm, pipe: Connection, seed: float) -> None:
    chance = random.Random(seed)
    known.FEW = chance.choice((0, known.FEW))  # a search, or a comparison
    remembered.MOST = chance.choice((0, 400, remembered.MOST))  # ids: none, some for a while, or all
    if not storm.endpoint:
        _lose_answers(storm, chance)
    lake = storm.lake
    while True:
        pipe.send(_land(lake, pipe.recv_bytes(), storm, chance))


def _land(lake: Lake, content: bytes, storm: Storm, chance: random.Random) -> bool:
    try:
        deadline = time.monotonic() + chance.uniform(0.5, 5)
        storm.over.land(lake, content, deadline=deadline, plain=storm.plain)
    except (Unavailable, OSError, DeltaError):
        return False
    return True


def _lose_answers(storm: Storm, chance: random.Random) -> None:
    """On a disk there is no answer to lose: a write that landed raises instead."""
    module, name = storm.over.commit
    write = getattr(module, name)

    def landed_but_unanswered(*arguments: Any, **options: Any) -> Any:
        answer = write(*arguments, **options)
        if chance.random() < storm.lose:
            raise chance.choice((OSError, CommitFailedError))("the answer was lost")
        return answer

    setattr(module, name, landed_but_unanswered)


def _start_compactor(storm: Storm) -> Any:
    process = _fork.Process(target=_compact, args=(storm,), daemon=True)
    process.start()
    return process


def _compact(storm: Storm) -> None:
    """Every day again and again, as no schedule would."""
    from nilometer.lake.write.maintenance import Upkeep

    upkeep = Upkeep(today=date(2027, 1, 1), out_of_time=lambda: False)
    while True:
        with contextlib.suppress(Exception):  # the storm may hit it anywhere
            upkeep.run(storm.over.table, lake_uri=storm.uri, storage_options=storm.lake.storage_options)
        time.sleep(0.3)


def judge(storm: Storm) -> dict[str, int]:
    """What a reader sees when the faults are over."""
    return storm.over.judge(storm.lake, storm.size, batches(storm))


def batches(storm: Storm) -> list[Content]:
    return storm.over.batches(storm.size, random.Random(storm.seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in vars(Storm(uri="")).items():
        if isinstance(default, bool):
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=type(default) if default is not None else str, default=default)
    storm = Storm(**vars(parser.parse_args()))
    if not storm.endpoint:
        print(json.dumps(run(storm) | judge(storm)))
        return
    with FaultyProxy(storm.endpoint, Faults(share=storm.lose, seed=storm.seed)) as proxy:
        os.environ["AWS_ENDPOINT_URL"] = proxy.url
        tally = run(storm)
        tally["faults"] = proxy.faults()
        time.sleep(LATEST)  # what is still on its way to S3 arrives before anybody counts
    os.environ["AWS_ENDPOINT_URL"] = storm.endpoint
    print(json.dumps(tally | judge(storm)))


if __name__ == "__main__":
    main()
    # Threads of Arrow and Delta may still run, and C++ aborts a process that leaves while they do.
    sys.stdout.flush()
    os._exit(0)
