"""What is sent again counts once: with its fact, without it, and when the tables were restored."""

from __future__ import annotations

import json
import time
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.support.flows.billing_play import play, records, scrambled, wrong
from tests.support.flows.company import company
from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE, cloud, handle, outcomes, prepare, totals, void
from tests.support.stores.engine import new_store
from tests.support.stores.memory import MemoryStore

from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import Bus
from nilometer.aws.s3 import Objects
from nilometer.domain.lake import redaction
from nilometer.domain.lake.rows import usage_row
from nilometer.domain.lake.tables import USAGE
from nilometer.domain.store.writes import Key, Table
from nilometer.domain.stripe.registers.register import project
from nilometer.flows.recovery.replay import MissingUsage, missing_usage, reachable
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode
from nilometer.local.plane.engine import REGION, Engine
from nilometer.local.stripe.month import random_month


def forget(store: Store) -> None:
    """All facts, as TTL does after forty days."""
    store.delete_all(Table.EVENTS, [Key(item["pk"], item["sk"]) for item in store.scan(Table.EVENTS)])


@pytest.mark.parametrize("seed", range(3))
def test_stripe_events_of_any_age_change_nothing(store: Store, seed: int) -> None:
    """A month again, in another order, when no fact knows it any more: registers merge what they have merged."""
    world = random_month(seed, customers=8)
    play(store, scrambled(world, seed))
    before = records(store)
    forget(store)

    play(store, scrambled(world, seed + 7))

    assert records(store) == before
    assert wrong(store, world) == []


def test_the_lakes_copies_of_stripe_events_would_do_harm(store: Store) -> None:
    """A plan that is no single word, and the expiry of a payment method, are redacted: so they are never replayed."""
    world, _, price = company()
    world.checkout("acme", [(price, 3)])
    told = json.loads(json.dumps(world.events).replace('"papyrus"', '"Papyrus for all"'))
    play(store, told)
    before = records(store)["acme"]
    forget(store)

    play(store, [redaction.stripe_payload(event) for event in told])

    after = records(store)["acme"]
    assert (before["plan"], before["limits"]) == ("Papyrus for all", {"api_calls": 3000})
    assert (after["plan"], after["limits"]) == (redaction.REDACTED, {"api_calls": 3000})
    method = {"object": "payment_method", "id": "pm_1", "card": {"exp_month": 12, "exp_year": 2030}}
    assert project(method)["exp_year"] == 2030
    assert "exp_year" not in project(redaction.stripe_payload(method))


@pytest.mark.parametrize(
    ("flow", "days", "reached"), [("billing", 89, 89), ("usage", 36, 35), ("usage", 30, 30), ("operations", 89, 39)]
)
def test_a_flow_gets_nothing_that_it_could_not_tell(flow: str, days: int, reached: int) -> None:
    """Not beyond the life of its facts, and never what its closed window would refuse."""
    since, why = reachable(flow, NOW - timedelta(days=days), now=NOW)

    assert timedelta(0) <= since - (NOW - timedelta(days=reached)) <= timedelta(hours=1)
    assert bool(why) is (days != reached)


class Restored:
    """A lake with all usage, and a bus whose events a queue holds until they are delivered."""

    def __init__(self, engine: Engine, lake_uri: str) -> None:
        self._lake = Lake(uri=lake_uri, storage_options={})
        self._ledger = Ledger(lake_uri=lake_uri, storage_options={})
        self._sqs, events = self._client(engine, "sqs"), self._client(engine, "events")
        name = f"replay-{uuid.uuid4().hex[:12]}"
        events.create_event_bus(Name=name)
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps({"detail-type": [{"prefix": "usage."}]}))
        events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "queue", "Arn": arn}])
        self.bus = Bus(events, name=name)

    @staticmethod
    def _client(engine: Engine, service: str) -> Any:
        return boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test").client(  # type: ignore[call-overload]
            service, endpoint_url=engine.endpoint_url, region_name=REGION
        )

    def land(self, store: Store, *, at: datetime = NOW) -> None:
        """Every fact as its row."""
        rows = [usage_row(fact) for fact in store.scan(Table.EVENTS, kind="usage_event")]
        decoded = decode(USAGE, json.dumps(rows).encode())
        self._lake.append(USAGE, decoded, recorded_at=at, deadline=time.monotonic() + 9)

    def replay(self, store: Store, *, bus: bool = True, now: datetime = NOW, **given: Any) -> MissingUsage:
        rows = self._ledger.usage_recorded(
            since=given.get("since", NOW - timedelta(days=60)), until=NOW + timedelta(1), workspace_id=None
        )
        return [MissingUsage(), *missing_usage(rows, store=store, bus=self.bus if bus else None, now=now)][-1]

    def delivered(self) -> list[str]:
        found: list[str] = []
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            found += [message["Body"] for message in messages]
        return found


@pytest.fixture
def restored(aws: Engine, tmp_path: Path) -> Restored:
    return Restored(aws, str(tmp_path / "lake"))


def sent() -> list[dict[str, Any]]:
    """Amounts, levels, values, a void, the smallest quantity, another day."""
    return [
        cloud("a", quantity="0.000000001", dimensions={"model": "m"}),
        cloud("b", quantity="100", time=NOW - timedelta(days=3)),
        cloud("c", quantity="4"),
        cloud("s", meter="seats", unit="seat", quantity="7", type_="usage.snapshot.v1"),
        cloud("u", meter="users", unit="user", quantity="1", dimensions={"user": "ada"}),
        void("c", "v"),
    ]


def usage_records(store: Store) -> list[dict[str, Any]]:
    found = sorted(store.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#"), key=lambda item: item["sk"])
    return [{name: item.get(name) for name in ("sk", "total", "count", "max", "latest")} for item in found]


def test_what_had_arrived_before_the_restored_second_and_was_counted_after_it_comes_back(
    ready: Store, objects: Objects, restored: Restored
) -> None:
    """The queue was behind by forty minutes; a row that the lake had before is in the tables too."""
    second = NOW + timedelta(minutes=5)
    handle(ready, objects, cloud("before"))
    restored.land(ready, at=NOW)
    handle(ready, objects, cloud("behind"))
    restored.land(ready, at=NOW + timedelta(minutes=40))

    found = restored.replay(MemoryStore(), bus=False, since=second)

    assert (found.rows, found.missing) == (1, 1)


def test_what_restored_tables_lost_comes_back_from_the_lake(
    ready: Store, objects: Objects, restored: Restored, dynamodb: Any
) -> None:
    """Counters as they were; originals that come again are duplicates, and a second replay finds nothing to do."""
    handle(ready, objects, *sent())
    restored.land(ready)
    earlier = prepare(new_store(dynamodb))
    handle(earlier, objects, *sent()[:2])

    counted = restored.replay(earlier, bus=False)
    found = restored.replay(earlier)
    results = handle(earlier, objects, *restored.delivered())

    assert counted == MissingUsage(rows=6, missing=4)
    assert found == MissingUsage(rows=6, missing=4, published=4)
    assert set(outcomes(results)) == {"accepted"}
    assert usage_records(earlier) == usage_records(ready)
    assert set(outcomes(handle(earlier, objects, *sent()))) == {"duplicate"}
    assert restored.replay(earlier) == MissingUsage(rows=6)


def test_a_replay_that_was_interrupted_may_be_made_again(
    ready: Store, objects: Objects, restored: Restored, dynamodb: Any
) -> None:
    """What it had published by then is dropped the second time."""
    handle(ready, objects, *sent())
    restored.land(ready)
    earlier = prepare(new_store(dynamodb))
    restored.replay(earlier)
    restored.replay(earlier)

    handle(earlier, objects, *restored.delivered())

    assert usage_records(earlier) == usage_records(ready)


def test_usage_that_is_too_old_is_left_out(ready: Store, objects: Objects, restored: Restored) -> None:
    """Its fact may have expired: so it can neither be distinguished from a copy, nor would it be accepted."""
    handle(ready, objects, *sent())
    restored.land(ready)
    forget(ready)

    found = restored.replay(ready, now=NOW + timedelta(days=34))

    assert (found.rows, found.too_old, found.missing, found.published) == (6, 1, 5, 5)
    assert restored.replay(ready, now=NOW + timedelta(days=36)) == MissingUsage(rows=6, too_old=6)
    assert totals(ready)["api_calls"] == Decimal("100.000000001")


def test_only_what_arrived_in_the_span_is_looked_at(ready: Store, objects: Objects, restored: Restored) -> None:
    handle(ready, objects, *sent())
    restored.land(ready)

    assert restored.replay(ready, since=NOW + timedelta(seconds=1)) == MissingUsage()
    assert restored.replay(ready, since=NOW).rows == 6
