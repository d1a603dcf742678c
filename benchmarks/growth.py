"""What an event costs when its workspace is large: `python -m benchmarks.growth [--sizes 1,100,1000,50000]`.

So many living subscriptions, each begun an hour after the one before, in their workspace's tables: 500 a customer,
which is as many as Stripe allows (https://docs.stripe.com/api/subscriptions/create), or `--each`. Then each event
changes a quantity and is alone in its batch. Own CPU an event (the least of the rounds, in turns), the bytes of the
billing record and of the link, what writing the record costs, and how many times one subscription's CPU it is. The goal
is 1.5. Beside it, on the same tables: one event one write under `stored.created < event.created`, which keeps a row a
subscription and knows nothing of a workspace. Tables are in memory, so botocore and its HTTP are in neither.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.billing import NOW, guarded, ours
from tests.support.stores.memory import MemoryStore

from nilometer.aws.items import marshal
from nilometer.domain.store import keys
from nilometer.domain.store.lists import SETTLES
from nilometer.domain.store.writes import Key, Table
from nilometer.lambdas import collect_rarely
from nilometer.local.plane.charges import item_bytes
from nilometer.local.stripe.world import StripeWorld

GOAL = 1.5
WORKSPACE = "ws_1"
EACH = 500  # subscriptions of a customer
FOLDED = ("product.", "price.", "customer.", "payment_method.")  # of what a record keeps nothing, nothing is played
Events = Sequence[dict[str, Any]]


def world_of(subscriptions: int, events: int, each: int = EACH) -> tuple[StripeWorld, Events, Events]:
    """What filled the tables, with an event of each customer at the end, and what is measured."""
    world = StripeWorld(datetime(2026, 10, 1, tzinfo=UTC) - timedelta(hours=subscriptions), seed=1)
    price = world.price(world.product("Papyrus", {"limit_api_calls": "1000", "plan": "papyrus"}), 4900)
    customer, living, chance = "", list[str](), random.Random(1)
    for number in range(subscriptions):
        customer = customer if number % each else world.customer(WORKSPACE)
        world.advance(timedelta(hours=1))
        living.append(world.subscribe(customer, [(price, 1)]))
    for one in living[::each]:
        world.advance(timedelta(seconds=61))
        world.change_quantity(one, 2)
    before, played = [event for event in world.events if event["type"].startswith(FOLDED)], len(world.events)
    for _ in range(events):
        world.advance(timedelta(seconds=61))
        one = chance.choice(living)
        world.change_quantity(one, world.objects[one]["items"]["data"][0]["quantity"] + 1)
    return world, before, world.events[played:]


@dataclass(frozen=True, slots=True)
class Workspace:
    """Tables of one, ours and the peer's, and the events that come next."""

    subscriptions: int
    customer: str
    filled: MemoryStore
    rows: MemoryStore
    updates: Events

    def cpu(self) -> tuple[float, float]:
        """Milliseconds an event, ours and the peer's."""
        mine, theirs = self.filled.copy(), self.rows.copy()
        return (
            _cpu(lambda: ours(mine, self.updates, batch=1)) / len(self.updates) * 1000,
            _cpu(lambda: guarded(theirs, self.updates)) / len(self.updates) * 1000,
        )

    def sizes(self) -> dict[str, int]:
        """What is stored, and the record's units in a transaction."""
        record = _bytes(self.filled, keys.billing(WORKSPACE))
        link = _bytes(self.filled, keys.link("self", False, self.customer))
        return {"record_bytes": record, "record_write_units": 2 * math.ceil(record / 1024), "link_bytes": link}


def workspace_of(subscriptions: int, *, events: int, each: int) -> Workspace:
    """Its tables, filled so long ago that what waits for a day has waited."""
    world, before, updates = world_of(subscriptions, events, each)
    filled, rows = MemoryStore(), MemoryStore()
    customers = math.ceil(subscriptions / each)
    ours(filled, before[:-customers], batch=1000, now=NOW - 2 * SETTLES)
    ours(filled, before[-customers:], batch=1000)
    guarded(rows, before)
    customer = next(one["id"] for one in world.objects.values() if one["object"] == "customer")
    return Workspace(subscriptions, customer, filled, rows, updates)


def _cpu(run: Callable[[], None]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def _bytes(store: MemoryStore, key: Key) -> int:
    item = store.get(Table.RECORDS, key)
    return item_bytes(marshal(item)) if item else 0


def compare(sizes: Sequence[int], *, events: int = 20, rounds: int = 3, each: int = EACH) -> Iterator[dict[str, Any]]:
    """The first size is what the others are held against. The sizes are measured in turns, because a machine's speed
    changes from second to second, and of each the least counts."""
    workspaces = [workspace_of(size, events=events, each=each) for size in sizes]
    turns = [[workspace.cpu() for workspace in workspaces] for _ in range(rounds)]
    least = [tuple(map(min, zip(*costs, strict=True))) for costs in zip(*turns, strict=True)]
    for workspace, (mine, theirs) in zip(workspaces, least, strict=True):
        yield {
            "subscriptions": workspace.subscriptions,
            "cpu_ms": round(mine, 3),
            "peer_cpu_ms": round(theirs, 3),
            **workspace.sizes(),
            "times": round(mine / least[0][0], 1),
            "goal": GOAL,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1,100,1000")
    parser.add_argument("--events", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--each", type=int, default=EACH)
    given = parser.parse_args()
    collect_rarely()
    sizes = list(map(int, given.sizes.split(",")))
    for line in compare(sizes, events=given.events, rounds=given.rounds, each=given.each):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
