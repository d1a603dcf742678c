"""Days of a small company over all flows at once, under bursts of faults: in the end every law holds."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time

import jsonschema
import pytest
from tests.support.project import ROOT
from tests.support.simulation.days.announced import announcements_add_up
from tests.support.simulation.days.company import day
from tests.support.simulation.kernel.shrinking import shrunk
from tests.support.simulation.kernel.world import LawBroken
from tests.support.simulation.scopes.billing.parts import small_parts

from nilometer.domain.store.writes import Table
from nilometer.flows.inbox.envelope import RECORD_CHANGED
from nilometer.flows.lake.kinds import ANNOUNCED
from nilometer.flows.publish.event_schemas import announced_schema

CHUNKS, SEEDS = 4, 250


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_day_ends_in_the_truth(chunk: int) -> None:
    """A thousand seeds in all, in processes in which a seed is one day; a failure names the command that tells it."""
    command = ["-m", "tests.simulation", "days", str(SEEDS), "--first", str(chunk * SEEDS), "--jobs", "1"]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SEEDS} seeds from {chunk * SEEDS}" in done.stdout


def test_a_day_is_full_of_trouble() -> None:
    """Otherwise it would prove nothing: requests fail, processes die, messages come twice, batches are mixed."""
    days = [day(seed) for seed in range(10)]

    assert sum(one.world.faults for one in days) > 50
    assert sum(one.world.requests for one in days) > 2_000
    assert any(one.queues["Usage"].failures or one.queues["Billing"].failures for one in days)


def test_a_day_of_large_customers_ends_in_the_truth() -> None:
    """The same days, when all that have a subscription have it in parts, and no process remembers any."""
    with small_parts(parted=1):
        days = [day(seed) for seed in range(12)]

    parts = [list(one.plant.store.scan(Table.RECORDS, kind="billing_part")) for one in days]
    assert all(parts[:3])
    assert sum(one.world.faults for one in days) > 50


def test_a_seed_is_one_day() -> None:
    """The same seed ends in the same tables, and so do its choices without the seed's dice for faults."""
    first, taken = day(3), {}
    again = day(3, taken=taken)
    replayed = day(3, taken)

    assert first.plant.tables.digest == again.plant.tables.digest == replayed.plant.tables.digest


def test_other_threads_do_not_move_the_clock_of_a_day() -> None:
    """A thread of an earlier test that waits in the same process waits really, and throws its own dice."""
    waits, ended = 0, threading.Event()

    def wait() -> None:
        nonlocal waits
        while not ended.is_set():
            time.sleep(random.uniform(1e-4, 1e-3))
            waits += 1

    alone, thread = day(3), threading.Thread(target=wait)
    thread.start()
    beside = day(3)
    ended.set()
    thread.join()

    assert waits > 0
    assert beside.world.now == alone.world.now
    assert beside.plant.tables.digest == alone.plant.tables.digest


def test_every_event_of_a_day_follows_its_schema() -> None:
    """All that the relay announces in days under faults, changes of records too, and of each type that they have."""
    days = [day(seed) for seed in range(12)]
    announced = [event for one in days for event in one.announced.values()]
    rows = [row for one in days for row in one.audit.values()]
    schemas = {name: announced_schema(name) for name in ANNOUNCED}
    of_rows = {**schemas[RECORD_CHANGED], "$ref": "#/$defs/RecordChanged", "properties": {}, "required": []}

    wrong = [
        (event["type"], error.message)
        for event in announced
        for error in jsonschema.Draft202012Validator(schemas[event["type"]]).iter_errors(event)
    ]
    assert wrong == []
    assert [e.message for row in rows for e in jsonschema.Draft202012Validator(of_rows).iter_errors(row)] == []
    assert len({event["type"] for event in announced}) > 8
    assert len(rows) > 500


def test_a_lost_announcement_breaks_a_law() -> None:
    """Of a plan, an invoice or a threshold: a subscriber that adds them up would be left with another state."""
    days = [day(seed) for seed in range(20)]
    for lost in ("billing.plan_changed.v1", "billing.access_changed.v1", "usage.threshold_reached.v1"):
        one, id_ = next((one, id_) for one in days for id_ in one.announced if lost in id_)
        left = {name: event for name, event in one.announced.items() if name != id_}

        announcements_add_up(one.announced, one.plant.store)
        with pytest.raises(LawBroken):
            announcements_add_up(left, one.plant.store)


def test_shrinking_keeps_what_a_failure_needs() -> None:
    """Of many choices two make the difference: they are left."""
    many = {f"{n} fault": 1 for n in range(40)}

    few = shrunk(many, lambda some: "broken" if {"7 fault", "31 fault"} <= some.keys() else "")

    assert few == {"7 fault": 1, "31 fault": 1}
