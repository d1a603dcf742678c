"""History, verify and rebuild need as much memory for a large lake as for a small one."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import time
import tracemalloc
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.lake.build import NOW, START, change

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.cli.recovery.history import print_steps
from nilometer.domain.lake.tables import AUDIT
from nilometer.domain.store.writes import Put, Table
from nilometer.flows.recovery import history
from nilometer.flows.recovery.rebuild import rebuild
from nilometer.flows.recovery.verify import Verification
from nilometer.lake.read import ledger as ledger_module
from nilometer.lake.read import ordering
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode

OLD = "2026-11-20T00:00:00.000Z"


@pytest.fixture(autouse=True)
def little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that both sizes are many times what is held at once."""
    monkeypatch.setattr(ordering, "RUN_BYTES", 200_000)
    monkeypatch.setattr(ledger_module, "BATCH_ROWS", 100)


def image(number: int) -> dict[str, Any]:
    key = {"pk": f"WORKSPACE#{number:06}", "sk": "BILLING", "kind": "billing", "version": 1, "updated_at": OLD}
    return key | {"plan": "x" * 1000}


def audited(folder: Path, *, records: int = 0, steps: int = 0) -> Ledger:
    """A lake with the creation of so many records, and so many changes of one more."""
    rows = [row(n, new_image=image(n), pk=f"WORKSPACE#{n:06}") for n in range(records)]
    rows += [row(n, new_image=image(0), old_image=image(1) | {"n": n}, action="MODIFY") for n in range(steps)]
    decoded = decode(AUDIT, json.dumps(rows).encode())
    Lake(uri=str(folder), storage_options={}).append(AUDIT, decoded, recorded_at=NOW, deadline=time.monotonic() + 60)
    return Ledger(lake_uri=str(folder), storage_options={})


def row(number: int, **changed: Any) -> dict[str, Any]:
    return change(str(number), created=START - 1000, sequence_number=str(number).zfill(40), **changed)


def peak(run: Callable[[], object]) -> int:
    """Of Python's own memory, in bytes."""
    gc.collect()
    tracemalloc.start()
    run()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def grows(measured: Callable[[int], Callable[[], object]], *, small: int) -> int:
    """By how many bytes the peak of four times as many rows is higher, each with a kilobyte of image."""
    measured(100)()  # what is imported and cached once
    before, after = (peak(measured(rows)) for rows in (small, 4 * small))
    return after - before


def test_history(tmp_path: Path, objects: Objects) -> None:
    """For people too, page by page."""

    def measured(steps: int) -> Callable[[], object]:
        ledger = audited(tmp_path / str(steps), steps=steps)
        return lambda: show(history.show("billing", "ws_1", ledger=ledger, objects=objects))

    def show(found: Any) -> None:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            print_steps(found, diff=False, page=50)

    assert grows(measured, small=500) < 500_000


def test_rebuild(tmp_path: Path, store: Store, objects: Objects) -> None:
    def measured(records: int) -> Callable[[], object]:
        asked = {"ledger": audited(tmp_path / str(records), records=records), "objects": objects, "dry_run": True}
        return lambda: rebuild(store, as_of=NOW - timedelta(hours=1), now=NOW, **asked)

    assert grows(measured, small=2000) < 500_000


def test_verify(tmp_path: Path, store: Store, objects: Objects) -> None:
    """Both sides: the table has the small lake's records and then the large one's, and all are equal."""
    put = 0

    def measured(records: int) -> Callable[[], object]:
        nonlocal put
        for start in range(put, records, 100):
            store.commit([Put(table=Table.RECORDS, item=image(n)) for n in range(start, start + 100)])
        put = records
        verification = Verification(
            store=store, ledger=audited(tmp_path / str(records), records=records), objects=objects, now=NOW
        )
        return lambda: deque((judge(report, records) for report in verification.run(["records"])), maxlen=0)

    def judge(report: Any, records: int) -> None:
        assert (report.compared, report.different) == (records, 0)

    assert grows(measured, small=2000) < 500_000
