"""How soon and how many, on a stack of this machine: `python -m benchmarks.local_stack [--alone 40] [--events 2000]`.

Alone: a webhook a second; a reader asks the table for its billing record until it is there. Goal: 95 % within 0.3 s
after the post. Beside it the floor: how long an item that was put by hand takes to be read in the same engine.

Many: a month of customers, then new subscriptions, each the first of its workspace, `--events` of each through 8
connections; events a second until Stripe would be answered, until all facts are in the table and until the stack is
idle, lake included; CPU an event, of all processes and of each. Goal: 500 a second in the table. Beside it the peer
(`benchmarks.emulator`): how many of the same events an emulator of AWS takes from its bus through a queue into a table,
and does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.emulator import bare

from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key, Table
from nilometer.local.demo.delivery import CONNECTIONS, WebhookClient
from nilometer.local.stack.idle import await_idle
from nilometer.local.stack.stack import Options, Stack, stack
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.world import StripeWorld

GOAL_SECONDS, GOAL_EVENTS = 0.3, 500
PATIENCE = 180
TOGETHER = 100  # items of one BatchGetItem
EVERY = 0.002  # seconds between two questions of the reader


def month(count: int) -> list[dict[str, Any]]:
    """At most `count` events of a month that is long ago, thirty a customer: of subscriptions, invoices and cards."""
    long_ago = datetime.now(UTC) - timedelta(days=700)
    return random_month(1, customers=max(count // 30, 1), now=long_ago).events[:count]


def events(count: int, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """`count` new subscriptions, each with the workspace that it is the first of."""
    world = StripeWorld(datetime.now(UTC), seed=hash(prefix) % 1000)
    price = world.price(world.product("Papyrus", {}), 4900)
    for number in range(count):
        before, workspace = len(world.events), f"{prefix}_{number}"
        world.subscribe(world.customer(workspace), [(price, 1)])
        found = (event for event in world.events[before:] if event["type"] == "customer.subscription.created")
        yield workspace, next(found)


def alone(running: Stack, store: Store, count: int) -> dict[str, Any]:
    """Seconds from the post until the record is read, one event a second."""
    client, took, answered = _client(running), [], []
    for number, (workspace, event) in enumerate(events(count, "alone")):
        began = time.monotonic()
        assert client.deliver(number, json.dumps(event).encode()).taken
        answered.append(time.monotonic() - began)
        _until(partial(_is_there, store, keys.billing(workspace)))
        took.append(time.monotonic() - began)
        time.sleep(max(0.0, began + 1.2 - time.monotonic()))
    return {
        "figure": "visible in the table after the webhook, alone",
        "events": count,
        **_percentiles("visible", took),
        **_percentiles("answered", answered),
        **_percentiles("floor", [_floor(store, number) for number in range(count)]),
        "goal_p95": GOAL_SECONDS,
    }


def _floor(store: Store, number: int) -> float:
    began, key = time.monotonic(), Key(f"FLOOR#{number}", "FLOOR")
    store.put_all(Table.RECORDS, [{"pk": key.pk, "sk": key.sk, "kind": "floor", "version": 1}])
    _until(partial(_is_there, store, key))
    return time.monotonic() - began


def many(running: Stack, store: Store, load: str, posted: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Events a second at three places."""
    count = len(posted)
    named = [keys.stripe_event("self", event["id"]) for event in posted]
    before, began = _cpu(), time.monotonic()
    answers = list(_client(running).deliver_all((n, json.dumps(event).encode()) for n, event in enumerate(posted)))
    accepted = time.monotonic() - began
    assert all(one.taken for one in answers)
    _until(partial(_are_stored, store, named), every=0.2)
    stored = time.monotonic() - began
    await_idle(running.status, timeout=PATIENCE, pause=1)
    idle = time.monotonic() - began
    used = {name: seconds - before.get(name, 0.0) for name, seconds in _cpu().items()}
    return {
        "figure": "Stripe events a second, end to end",
        "load": load,
        "events": count,
        "accepted": round(count / accepted, 1),
        "in_table": round(count / stored, 1),
        "idle": round(count / idle, 1),
        "cpu_ms": _milliseconds(sum(used.values()), count),
        "cpu_ms_of": {
            name: _milliseconds(seconds, count)
            for name, seconds in sorted(used.items(), key=lambda one: -one[1])
            if seconds > 0
        },
        "goal_in_table": GOAL_EVENTS,
        "cores": os.cpu_count(),
    }


def _are_stored(store: Store, named: list[Key]) -> bool:
    """Whether all are in the table. Forgets those that are, the last first, and asks for a hundred at a time: to look
    must not cost what is measured."""
    while asked := named[-TOGETHER:]:
        found = store.batch_get(Table.EVENTS, asked, attributes=("version",))
        if missing := [key for key in asked if key not in found]:
            named[-TOGETHER:] = missing
            return False
        del named[-TOGETHER:]
    return True


def _cpu() -> dict[str, float]:
    """Seconds by process: `runner`, which is this one with its HTTP client, `engine`, and the functions; none where
    there is no /proc."""
    found: dict[int, tuple[int, int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found[int(folder.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    ours = {os.getpid()}
    while more := {pid for pid, (parent, _) in found.items() if parent in ours} - ours:
        ours |= more
    used: dict[str, float] = {}
    for pid in ours & found.keys():
        name = "runner" if pid == os.getpid() else _process(pid)
        used[name] = used.get(name, 0.0) + found[pid][1] / os.sysconf("SC_CLK_TCK")
    return used


def _process(pid: int) -> str:
    with contextlib.suppress(OSError):
        if b"nilometer.local.workers" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return Path(f"/proc/{pid}/comm").read_text().strip()
    return "engine"


def _milliseconds(seconds: float, count: int) -> float:
    return round(seconds / count * 1000, 2)


def _is_there(store: Store, key: Key) -> bool:
    return store.get(Table.RECORDS, key) is not None


def _until(done: Callable[[], bool], *, every: float = EVERY) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(every)


def _client(running: Stack) -> WebhookClient:
    return WebhookClient(running.description.webhook_url, secret=str(running.description.stripe_secret))


def _percentiles(name: str, took: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(took, n=20)
    return {f"{name}_p50": round(cuts[9], 3), f"{name}_p95": round(cuts[18], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alone", type=int, default=40)
    parser.add_argument("--events", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NILOMETER_RUNTIME_DIR"] = str(Path(folder) / "run")
        with stack(Options(port=0, aws_port=0)) as running:
            tables = running.description
            store = Store(running.client("dynamodb"), records=tables.records_table, events=tables.events_table)
            alone(running, store, 3)  # the first of each function starts its process
            print(json.dumps({**alone(running, store, given.alone), "load": round(os.getloadavg()[0], 1)}), flush=True)
            loads = {"a month": month(given.events)}
            loads["first of their workspaces"] = [event for _, event in events(given.events, "many")]
            for load, posted in loads.items():
                print(json.dumps(many(running, store, load, posted)), flush=True)
        for load, posted in loads.items():
            found = bare(posted, connections=CONNECTIONS)
            print(json.dumps({"figure": "peer: MiniStack alone, one hop", "load": load, **found}), flush=True)


if __name__ == "__main__":
    main()
