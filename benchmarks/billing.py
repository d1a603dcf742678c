"""What a Stripe event costs and whether it ends true: `python benchmarks/billing.py [--customers 200] [--orders 2]`.

Three consumers take the same stream in one run, against a fresh local engine: ours; one event one write behind the
guard `stored.created < event.created`, as sync engines do; and the latest arrival. Wrong is counted against the
simulated Stripe. Rates compare designs on one machine and are not AWS's. CPU is this process's (`time.process_time`);
what botocore and its HTTP take is measured and taken off. Write units are what the engine reports as consumed: in
a transaction two for each kilobyte of each item, else one. `by_item` says for what: facts, registers, billing records,
links and uses, and conditions on items that are only read. Then come lone updates: one of each living subscription, so
that no event shares a write with another.

Last come figures beside their goals: events one at a time, and the guard's; a product that `--users` workspaces use,
changed, and what it takes to write their records again without reading. Several workers: benchmarks/workers.py. A
workspace that grows: benchmarks/growth.py.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from nilometer.aws import clients
from nilometer.aws.dynamodb import Store
from nilometer.aws.items import marshal
from nilometer.domain.events.outcome import Message
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Put, Table, Write
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing import catalog, reading
from nilometer.lambdas import collect_rarely
from nilometer.local.plane.charges import item_bytes
from nilometer.local.plane.engine import REGION, engine
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.world import StripeWorld

NOW = datetime(2028, 1, 1, tzinfo=UTC)  # after every simulated month
FIELDS = ("status", "cancel_at_period_end", "cancel_at", "latest_invoice")

Consumer = Callable[[Store, Sequence[dict[str, Any]]], None]
Reader = Callable[[Store], dict[str, dict[str, Any]]]


class Metered:
    """A DynamoDB client that knows how much of the CPU its calls take."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.cpu = 0.0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if not callable(real):
            return real

        def call(**request: Any) -> Any:
            began = time.process_time()
            try:
                return real(**request)
            finally:
                self.cpu += time.process_time() - began

        return call


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    design: str
    order: str
    events: int
    wrong_subscriptions: int
    wrong_invoices: int
    events_per_second: float
    own_cpu_ms: float
    botocore_cpu_ms: float
    requests: float
    write_units: float
    by_item: dict[str, float]


class Itemised(Store):
    """A store that says which items its write units were for; what no item of a commit takes is its conditions'."""

    def __init__(self, client: Any, **names: str) -> None:
        super().__init__(client, **names)
        self.names = names
        self.by_item: Counter[str] = Counter()

    def commit(self, writes: Sequence[Write], *, returning: bool = False) -> None:
        before = self.write_units
        super().commit(writes, returning=returning)
        shares = Counter[str]()
        for write in writes:
            if isinstance(write, Put):
                shares[_ITEMS.get(write.item["kind"], "other")] += 2 * math.ceil(item_bytes(marshal(write.item)) / 1024)
        shares["conditions"] = round(self.write_units - before - sum(shares.values()))
        self.by_item.update(shares)

    def put_all(self, table: Table, items: Sequence[Item]) -> None:  # type: ignore[override]  # ours are lists
        before = self.write_units
        super().put_all(table, items)
        kinds = Counter(_ITEMS[str(item["kind"])] for item in items)
        self.by_item.update(kinds)
        self.by_item["facts"] += round(self.write_units - before) - sum(kinds.values())


_ITEMS = {
    "stripe_event": "facts",
    "register": "registers",
    "billing": "records",
    "link": "links",
    "use": "links",
}


def ours(store: Store, events: Sequence[dict[str, Any]], batch: int = 100, now: datetime = NOW) -> None:
    take(store, messages_of(events), batch, now)


def messages_of(events: Sequence[dict[str, Any]]) -> list[Message]:
    """As the queue has them."""
    return [Message(str(n), envelope(event)) for n, event in enumerate(events)]


def take(store: Store, messages: Sequence[Message], batch: int = 100, now: datetime = NOW) -> None:
    for start in range(0, len(messages), batch):
        billing.handle(messages[start : start + batch], store=store, objects=NoObjects(), now=now)  # type: ignore[arg-type]  # nothing here is large


def guarded(store: Store, events: Sequence[dict[str, Any]]) -> None:
    """One read and one write an event, when the stored row is older."""
    for event in events:
        key = _row_key(event)
        stored = store.get(Table.RECORDS, key) if key else None
        if key and (stored is None or stored["created"] < event["created"]):
            store.commit([_row(key, event)])


def latest(store: Store, events: Sequence[dict[str, Any]]) -> None:
    """One write an event: what arrives is what is true."""
    for event in events:
        if key := _row_key(event):
            store.commit([_row(key, event)])


def read_ours(store: Store) -> dict[str, dict[str, Any]]:
    subscriptions = {s["id"]: s for record in reading.list_billing(store) for s in record["subscriptions"]}
    invoices = {o["id"]: o for o in reading.list_objects(store) if o["object"] == "invoice"}
    return {**subscriptions, **invoices}


def read_rows(store: Store) -> dict[str, dict[str, Any]]:
    found = [json.loads(row["snapshot"]) for row in store.scan(Table.RECORDS, kind="row")]
    return {one["id"]: {**one, "items": items_of(one)} if one["object"] == "subscription" else one for one in found}


def measure(
    design: str,
    order: str,
    consumer: Consumer,
    read: Reader,
    client: Any,
    world: StripeWorld,
    events: Any,
    before: Sequence[dict[str, Any]] = (),
) -> Score:
    """Of `events` alone; what came `before` is not counted."""
    metered = Metered(client)
    store = store_of(client, metered)
    consumer(store, before)
    store.requests, store.write_units, metered.cpu = 0, 0.0, 0.0
    store.by_item.clear()
    cpu, began = time.process_time(), time.monotonic()
    consumer(store, events)
    seconds, cpu, botocore = time.monotonic() - began, time.process_time() - cpu, metered.cpu
    requests, units, by_item = store.requests, store.write_units, dict(sorted(store.by_item.items()))
    told, count = read(store), len(events)
    return Score(
        design=design,
        order=order,
        events=count,
        wrong_subscriptions=wrong(told, world, "subscription"),
        wrong_invoices=wrong(told, world, "invoice"),
        events_per_second=round(count / seconds, 1),
        own_cpu_ms=round((cpu - botocore) / count * 1000, 3),
        botocore_cpu_ms=round(botocore / count * 1000, 3),
        requests=round(requests / count, 3),
        write_units=round(units / count, 2),
        by_item={name: round(used / count, 2) for name, used in by_item.items()},
    )


def main() -> None:
    options = _options()
    collect_rarely()
    world = random_month(options.seed, customers=options.customers)
    with (
        tempfile.TemporaryDirectory() as folder,
        engine(port=0, data=Path(folder), log=Path(folder) / "log") as running,
    ):
        client = client_of(running.endpoint_url)
        for name, events in _orders(world, options.orders):
            for design, consumer, read in (
                ("ours", ours, read_ours),
                ("created <", guarded, read_rows),
                ("latest arrival", latest, read_rows),
            ):
                _print(measure(design, name, consumer, read, client, world, events))
        before, updates = _lone_updates(world)
        _print(measure("ours", "lone updates", ours, read_ours, client, world, updates, before))
        for figure in (
            _one_at_a_time(client, world),
            *_many_users(client, options.users),
        ):
            print(json.dumps(figure), flush=True)


def client_of(endpoint_url: str) -> Any:
    """As a function has it."""
    return clients.client(
        "dynamodb",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106  # no secret: the local engine takes any
    )


def _one_at_a_time(client: Any, world: StripeWorld) -> dict[str, Any]:
    """Every batch holds one event; the first half of a month fills the tables. Beside it one read and one write."""
    half = len(world.events) // 2
    before, events = world.events[:half], world.events[half : half + 300]
    mine = _alone(client, ours, before, partial(ours, batch=1), events)
    peer = _alone(client, guarded, before, guarded, events)
    return {
        "figure": "an event alone in its batch",
        **mine,
        "goal_requests": 2.5,
        "goal_write_units": 4,
        "goal_own_cpu_ms": 2,
        **{f"created_guard_{name}": told for name, told in peer.items()},
    }


def _alone(client: Any, fill: Consumer, before: Any, consumer: Consumer, events: Any) -> dict[str, float]:
    """What one event costs."""
    metered = Metered(client)
    store = store_of(client, metered)
    fill(store, before)
    store.requests, store.write_units, metered.cpu, cpu = 0, 0.0, 0.0, time.process_time()
    consumer(store, events)
    own = time.process_time() - cpu - metered.cpu
    return {
        "requests": round(store.requests / len(events), 2),
        "write_units": round(store.write_units / len(events), 2),
        "own_cpu_ms": round(own / len(events) * 1000, 2),
    }


def _many_users(client: Any, users: int) -> list[dict[str, Any]]:
    """A product that many workspaces use changes: the call that takes the event, and the runs that do the rest."""
    world = StripeWorld(datetime(2026, 10, 1, tzinfo=UTC))
    product = world.product("Papyrus", {"limit_api_calls": "1000"})
    price = world.price(product, 4900)
    for number in range(users):
        world.create({"object": "subscription", **_bare(world, number, product, price)})
    store = store_of(client, Metered(client))
    ours(store, world.events)
    catalog.resume(store, now=NOW)
    world.advance(timedelta(days=1))
    world.update(product, metadata={"limit_api_calls": "5"})
    store.requests, began = 0, time.monotonic()
    ours(store, world.events[-1:])
    call, taken = store.requests, time.monotonic() - began
    catalog.resume(store, now=NOW)
    requests, seconds = store.requests, time.monotonic() - began
    changed = sum(record["limits"] == {"api_calls": 5} for record in reading.list_billing(store))
    records = list(store.scan(Table.RECORDS, kind="billing"))
    store.requests, began = 0, time.monotonic()
    store.put_all(Table.RECORDS, records)
    return [
        {
            "figure": f"a product that {users} workspaces use changes",
            "records_changed": changed,
            "call_requests": call,
            "call_s": round(taken, 2),
            "goal_call_s": 10,
            "all_requests": requests,
            "all_s": round(seconds, 2),
            "bare_write_requests": store.requests,
            "bare_write_s": round(time.monotonic() - began, 2),
        }
    ]


def _bare(world: StripeWorld, number: int, product: str, price: str) -> dict[str, Any]:
    item = {"id": f"si_{number}", "quantity": 1, "price": {"id": price, "product": product}}
    return {
        "id": f"sub_{number}",
        "customer": f"cus_{number}",
        "created": world.second,
        "status": "active",
        "metadata": {"workspace_id": f"ws_{number}"},
        "items": {"data": [item], "has_more": False},
    }


def _print(score: Score) -> None:
    print(json.dumps({field: getattr(score, field) for field in Score.__slots__}), flush=True)


def _lone_updates(world: StripeWorld) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What happened before, and one change of quantity of each subscription that is active."""
    before = list(world.events)
    world.advance(timedelta(minutes=1))
    for known in list(world.objects.values()):
        if known["object"] == "subscription" and known["status"] == "active":
            world.change_quantity(known["id"], known["items"]["data"][0]["quantity"] + 1)
    return before, world.events[len(before) :]


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=200)
    parser.add_argument("--orders", type=int, default=1, help="random orders beside the perfect one")
    parser.add_argument("--users", type=int, default=1000, help="workspaces that use a product which changes")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _orders(world: StripeWorld, count: int) -> list[tuple[str, list[dict[str, Any]]]]:
    """Perfect order without duplicates; then random orders with 30 % duplicates."""
    found = [("perfect", world.events)]
    for seed in range(count):
        chance = random.Random(seed)
        events = world.events + chance.choices(world.events, k=len(world.events) * 3 // 10)
        chance.shuffle(events)
        found.append((f"random {seed}, 30 % duplicates", events))
    return found


def wrong(told: dict[str, dict[str, Any]], world: StripeWorld, kind: str) -> int:
    truths = [truth for truth in world.objects.values() if truth["object"] == kind]
    return sum(not _agrees(told.get(truth["id"], {}), truth) for truth in truths)


def _agrees(told: dict[str, Any], truth: dict[str, Any]) -> bool:
    if truth["object"] == "invoice":
        return bool(told.get("status") == truth["status"])
    return all(told.get(name) == truth[name] for name in FIELDS) and told.get("items") == items_of(truth)


def items_of(subscription: dict[str, Any]) -> list[dict[str, Any]]:
    data = subscription["items"]["data"]
    return [{"id": item["id"], "price": item["price"]["id"], "quantity": item["quantity"]} for item in data]


def _row_key(event: dict[str, Any]) -> Key | None:
    snapshot = event["data"]["object"]
    return keys.register("self", False, snapshot["object"], snapshot["id"], None) if "id" in snapshot else None


def _row(key: Key, event: dict[str, Any]) -> Put:
    snapshot = json.dumps(event["data"]["object"])
    row = {"pk": key.pk, "sk": key.sk, "kind": "row", "version": 1, "created": event["created"], "snapshot": snapshot}
    return Put(table=Table.RECORDS, item=row)


def store_of(client: Any, metered: Metered) -> Itemised:
    names = {name: f"{name}-{uuid.uuid4().hex[:8]}" for name in ("records", "events")}
    keys_of = {"": ("pk", "sk"), "gsi1": ("gsi1pk", "gsi1sk")}
    schema = {
        index: [{"AttributeName": n, "KeyType": kind} for n, kind in zip(named, ("HASH", "RANGE"), strict=True)]
        for index, named in keys_of.items()
    }
    for name in names.values():
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": n, "AttributeType": "S"} for named in keys_of.values() for n in named
            ],
            KeySchema=schema[""],
            GlobalSecondaryIndexes=[
                {"IndexName": "gsi1", "KeySchema": schema["gsi1"], "Projection": {"ProjectionType": "ALL"}}
            ],
        )
    return Itemised(metered, **names)


def envelope(event: dict[str, Any]) -> str:
    return json.dumps(
        {
            "id": event["id"],
            "detail-type": event["type"],
            "source": "nilometer.webhook",
            "time": "2026-11-23T12:00:00Z",
            "detail": event,
        }
    )


class NoObjects:
    def get(self, key: str) -> bytes:
        raise AssertionError(key)


if __name__ == "__main__":
    main()
