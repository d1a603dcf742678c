"""The billing flow against a real engine: any order, any duplication, any crash; the same and the true state."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from nilometer.aws.dynamodb import Store
from nilometer.domain.outcome import Message, Outcome
from nilometer.domain.stripe.projection import project
from nilometer.domain.writes import Table
from nilometer.flows import billing
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.world import World

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class NoObjects:
    """Nothing here is large enough to rest in S3."""

    def get(self, key: str) -> bytes:
        raise AssertionError(key)

    def put(self, prefix: str, content: bytes) -> str:
        return f"{prefix}/kept"


OBJECTS: Any = NoObjects()


def envelope(event: dict[str, Any], source: str = "nilometer.webhook") -> str:
    return json.dumps(
        {
            "version": "0",
            "id": "bus",
            "detail-type": event["type"],
            "source": source,
            "account": "1",
            "time": "2026-11-23T00:00:00Z",
            "region": "us-east-1",
            "resources": [],
            "detail": event,
        }
    )


def feed(store: Store, events: Iterable[dict[str, Any]], *, batch: int = 100) -> list[Outcome]:
    bodies = [Message(str(i), envelope(event)) for i, event in enumerate(events)]
    outcomes = []
    for start in range(0, len(bodies), batch):
        results = billing.handle(bodies[start : start + batch], store=store, objects=OBJECTS, now=NOW)
        outcomes += [result.outcome for result in results]
    return outcomes


def shuffled(world: World, seed: int, duplicates: float = 0.3) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    events = world.events + chance.choices(world.events, k=int(len(world.events) * duplicates))
    chance.shuffle(events)
    return events


def state(store: Store) -> list[dict[str, Any]]:
    """All that must not depend on the order: everything but versions, times and causes."""
    return [_timeless(item) for item in sorted(billing.list_billing(store), key=lambda r: str(r["workspace"]))]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in {"version", "updated_at", "cause"}}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def wrong(store: Store, world: World) -> list[str]:
    """Objects whose register does not say what Stripe says."""
    known = {
        (o["object"], o.get("id")): {k: v for k, v in o.items() if v is not None} for o in billing.list_objects(store)
    }
    bad = []
    for truth in world.objects.values():
        if "id" not in truth or truth["object"] == "feature":
            continue
        told = known.get((truth["object"], truth["id"]), {})
        if truth.get("deleted"):
            bad += [] if told.get("deleted") else [truth["id"]]
        elif {k: told.get(k) for k in project(truth)} != project(truth):
            bad.append(truth["id"])
    return bad


@pytest.mark.parametrize("seed", range(3))
def test_any_order_and_duplication_ends_true(store: Store, seed: int) -> None:
    """A month in random order with a third delivered twice: every object as Stripe has it."""
    world = random_month(seed, customers=8)

    feed(store, shuffled(world, seed))

    assert wrong(store, world) == []
    assert len({r["workspace"] for r in billing.list_billing(store)} - {None}) == 8


def test_the_order_does_not_matter(store: Store, dynamodb: Any) -> None:
    """Two permutations with other duplicates and batches: equal records."""
    from tests.conftest import new_store

    world, other = random_month(5, customers=6), new_store(dynamodb)

    feed(store, world.events)
    feed(other, shuffled(world, 9), batch=7)

    assert state(store) == state(other)


def test_each_event_is_one_fact(store: Store) -> None:
    """Duplicates are told apart from new events, within a batch and between batches."""
    world = random_month(1, customers=3)
    outcomes = feed(store, [*world.events, *world.events])

    assert outcomes.count(Outcome.ACCEPTED) == len(world.events) == len(list(store.scan(Table.EVENTS)))
    assert outcomes.count(Outcome.DUPLICATE) == len(world.events)
