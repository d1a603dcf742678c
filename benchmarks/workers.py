"""Several workers on one backlog: `python -m benchmarks.workers [--customers 200] [--workers 1,4,10]`.

A month of Stripe's events is half in the tables; processes take the rest in batches, in order and shuffled with 30 %
duplicates, each batch to the next free one, so that they meet as often as they can. A part that failed is delivered
again, as a queue does. One JSON line a run: events, requests and CPU an event, the slowest batch, what is wrong at the
end. Beside it, in the same run and as often: one event one read and one write under `stored.created < event.created`,
as sync engines do. Goals: requests and CPU an event at most 1.5 times one worker's, no batch above 3 s, nothing wrong.

More processes than cores cannot give more events a second here: `cores` is printed with the figures.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.billing import (
    NOW,
    Metered,
    NoObjects,
    client_of,
    envelope,
    guarded,
    read_ours,
    read_rows,
    store_of,
    wrong,
)

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.flows.billing import batch as billing
from nilometer.lambdas import collect_rarely
from nilometer.local.plane.engine import engine
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.world import StripeWorld

BATCH = 100
GOAL_RATIO, GOAL_SLOWEST = 1.5, 3.0

Events = Sequence[dict[str, Any]]
Take = Callable[[Store, Events], None]


@dataclass(frozen=True, slots=True)
class Spent:
    """One batch: requests, seconds, and CPU seconds of its process."""

    requests: int
    seconds: float
    cpu: float


def take_ours(store: Store, events: Events) -> None:
    """Again while a part fails, as a queue delivers it."""
    messages = [Message(str(n), envelope(event)) for n, event in enumerate(events)]
    while messages:
        results = billing.handle(messages, store=store, objects=NoObjects(), now=NOW)  # type: ignore[arg-type]  # nothing here is large
        failed = {one.message_id for one in results if one.outcome is Outcome.FAILED}
        messages = [one for one in messages if one.id in failed]


DESIGNS: dict[str, tuple[Take, Callable[[Store], dict[str, dict[str, Any]]]]] = {
    "ours": (take_ours, read_ours),
    "created <": (guarded, read_rows),
}


def consume(endpoint_url: str, names: dict[str, str], design: str, events: Events) -> Spent:
    """One batch in this process."""
    store = _store(endpoint_url, **names)
    asked, began, cpu = store.requests, time.monotonic(), time.process_time()
    DESIGNS[design][0](store, events)
    return Spent(store.requests - asked, time.monotonic() - began, time.process_time() - cpu)


@cache
def _store(endpoint_url: str, **names: str) -> Store:
    """One a process, as a function keeps it between two calls."""
    collect_rarely()
    return Store(client_of(endpoint_url), **names)


def measure(
    endpoint_url: str, world: StripeWorld, before: Events, events: Events, *, design: str, workers: int
) -> dict[str, Any]:
    """`before` fills the tables and is not counted."""
    client = client_of(endpoint_url)
    store = store_of(client, Metered(client))
    DESIGNS[design][0](store, before) if design != "ours" else _fill(store, before)
    batches = [events[start : start + BATCH] for start in range(0, len(events), BATCH)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(partial(_warm, endpoint_url, store.names), range(workers * 4), chunksize=1)
        began = time.monotonic()
        spent = pool.map(partial(consume, endpoint_url, store.names, design), batches, chunksize=1)
        seconds = time.monotonic() - began
    told = DESIGNS[design][1](store)
    return {
        "design": design,
        "workers": workers,
        "events_per_second": round(len(events) / seconds, 1),
        "requests": round(sum(one.requests for one in spent) / len(events), 3),
        "cpu_ms": round(sum(one.cpu for one in spent) / len(events) * 1000, 3),
        "slowest_batch_s": round(max(one.seconds for one in spent), 2),
        "wrong": wrong(told, world, "subscription") + wrong(told, world, "invoice"),
    }


def _fill(store: Store, events: Events) -> None:
    for start in range(0, len(events), 200):
        take_ours(store, events[start : start + 200])


def _warm(endpoint_url: str, names: dict[str, str], _: int) -> None:
    """A worker that has imported all and made its client is ready; the others get one, too."""
    _store(endpoint_url, **names)
    time.sleep(0.1)


def orders(world: StripeWorld, events: int) -> Iterator[tuple[str, Events, Events]]:
    """Name, what is in the tables, and the backlog: the last `events` of the month, and the same shuffled with
    duplicates."""
    half = max(len(world.events) // 2, len(world.events) - events)
    before, rest = world.events[:half], world.events[half:]
    yield "in order", before, rest
    chance = random.Random(3)
    shuffled = rest + chance.choices(rest, k=len(rest) * 3 // 10)
    chance.shuffle(shuffled)
    yield "shuffled, 30 % duplicates", before, shuffled


def compare(
    endpoint_url: str, world: StripeWorld, events: int, workers: Sequence[int], designs: Sequence[str] = tuple(DESIGNS)
) -> Iterator[dict[str, Any]]:
    """One line a run, the first number of workers as what the others are held against."""
    for order, before, backlog in orders(world, events):
        for design in designs:
            first: dict[str, Any] = {}
            for count in workers:
                found = measure(endpoint_url, world, before, backlog, design=design, workers=count)
                first = first or found
                yield {"order": order, "cores": os.cpu_count(), **found, **_held(found, first)}


def _held(found: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    ratios = {name: round(found[name] / first[name], 2) for name in ("requests", "cpu_ms", "events_per_second")}
    return {"to_one_worker": ratios, "goal": {"requests": GOAL_RATIO, "slowest_batch_s": GOAL_SLOWEST, "wrong": 0}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=200)
    parser.add_argument("--events", type=int, default=6000, help="at most so many of the month are the backlog")
    parser.add_argument("--steps", type=int, default=6, help="turns of a customer in the month")
    parser.add_argument("--workers", default="1,4,10")
    parser.add_argument("--design", choices=[*DESIGNS], action="append", help="one of them alone")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    world = random_month(given.seed, customers=given.customers, steps=given.steps)
    with (
        tempfile.TemporaryDirectory() as folder,
        engine(port=0, data=Path(folder), log=Path(folder) / "log") as running,
    ):
        workers = list(map(int, given.workers.split(",")))
        for line in compare(running.endpoint_url, world, given.events, workers, given.design or tuple(DESIGNS)):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
