"""Plays a simulated Stripe's events into the billing flow, and compares what is stored with Stripe's truth."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.support.faulty import Killed
from tests.support.flows.operations import envelope
from tests.support.stores.engine import new_store

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.link import Trust
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.stripe.registers.register import project
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing import reading
from nilometer.local.stripe.world import StripeWorld

OWN = Trust()
PLAYED_AT = datetime(2028, 1, 1, tzinfo=UTC)
"""After every simulated month: what is dated ahead of its arrival is rejected."""


class NoObjects:
    """Nothing here is large enough to rest in S3."""

    def get(self, key: str) -> bytes:
        raise AssertionError(key)

    def put(self, prefix: str, content: bytes) -> str:
        raise AssertionError(prefix)


OBJECTS: Any = NoObjects()


def bodies(events: Iterable[dict[str, Any]]) -> list[Message]:
    return [Message(str(n), envelope(event, source="nilometer.webhook")) for n, event in enumerate(events)]


def play(
    store: Any,
    events: Iterable[dict[str, Any]],
    *,
    batch: int = 100,
    trust: Trust = OWN,
    now: datetime = PLAYED_AT,
) -> list[Result]:
    messages = bodies(events)
    results: list[Result] = []
    for start in range(0, len(messages), batch):
        together = messages[start : start + batch]
        results += billing.handle(together, store=store, objects=OBJECTS, now=now, trust=trust)
    return results


def in_any_order(
    dynamodb: Any, events: Sequence[dict[str, Any]], *, orders: int = 5, trust: Trust = OWN
) -> dict[str | None, dict[str, Any]]:
    """The records that all orders, duplicates and batches end with; fails when two differ. An empty record that a
    customer has left is left out."""
    found = []
    for seed in range(orders):
        chance, store = random.Random(seed), new_store(dynamodb)
        shuffled = [*events, *chance.choices(events, k=len(events) // 3)]
        if seed:
            chance.shuffle(shuffled)
        play(store, shuffled, batch=(100, 7, 3, 1, 20)[seed % 5], trust=trust)
        found.append({workspace: one for workspace, one in records(store).items() if _is_lived_in(one)})
    assert all(one == found[0] for one in found)
    return found[0]


def _is_lived_in(record: dict[str, Any]) -> bool:
    return bool(record["customers"] or record.get("conflicts") or record.get("refused_claims"))


def deliver(store: Any, messages: Sequence[Message]) -> list[Message]:
    """One invocation; what the queue delivers again."""
    try:
        results = billing.handle(messages, store=store, objects=OBJECTS, now=PLAYED_AT)
    except Killed:
        return list(messages)
    failed = {result.message_id for result in results if result.outcome is Outcome.FAILED}
    return [message for message in messages if message.id in failed]


def scrambled(world: StripeWorld, seed: int, duplicates: float = 0.3) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    events = world.events + chance.choices(world.events, k=int(len(world.events) * duplicates))
    chance.shuffle(events)
    return events


def records(store: Store) -> dict[str | None, dict[str, Any]]:
    """By workspace, without what depends on the way: versions, times, causes."""
    return {record["workspace"]: _timeless(record) for record in reading.list_billing(store)}


def wrong(store: Store, world: StripeWorld) -> list[str]:
    """Ids of objects whose register does not say what Stripe says, and of subscriptions listed wrongly."""
    told = {(o["object"], o.get("id")): o for o in reading.list_objects(store)}
    truths = [truth for truth in world.objects.values() if "id" in truth]
    bad = [truth["id"] for truth in truths if not _says(told.get((truth["object"], truth["id"]), {}), truth)]
    listed = {s["id"]: s for record in reading.list_billing(store) for s in record["subscriptions"]}
    return bad + [t["id"] for t in truths if t["object"] == "subscription" and not _lists(listed.get(t["id"], {}), t)]


def _says(told: dict[str, Any], truth: dict[str, Any]) -> bool:
    if truth.get("deleted"):
        return bool(told.get("deleted"))
    expected = project(truth)
    return {name: told.get(name) for name in expected} == expected and not told.get("deleted")


def _lists(listed: dict[str, Any], truth: dict[str, Any]) -> bool:
    names = ("status", "cancel_at_period_end", "cancel_at", "latest_invoice")
    items = [{"id": i["id"], "price": i["price"]["id"], "quantity": i["quantity"]} for i in truth["items"]["data"]]
    said = all(listed.get(name) == truth[name] for name in names) and listed["items"] == items
    return said and bool(truth["ended_at"] or listed["current_period_end"] == true_period(truth)[1])


def true_period(truth: dict[str, Any]) -> tuple[int, int]:
    """Begin and end of that of the item that renews most often."""
    lengths = {"day": 1, "week": 7, "month": 30, "year": 365}

    def often(item: dict[str, Any]) -> tuple[int, int]:
        recurring = item["price"]["recurring"]
        return lengths[recurring["interval"]] * recurring["interval_count"], item["current_period_end"]

    item = min(truth["items"]["data"], key=often)
    return item["current_period_start"], item["current_period_end"]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in {"version", "updated_at", "cause"}}
    return [_timeless(v) for v in value] if isinstance(value, list) else value
