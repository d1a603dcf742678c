"""The lake equals the tables, or `verify` says where it does not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.lake.build import stripe_event, usage
from tests.support.lake.told import OLD, ToldWorld, counter, record

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake.tables import STRIPE_EVENTS, USAGE
from nilometer.domain.recovery.history import state
from nilometer.domain.recovery.verification import DifferenceKind
from nilometer.domain.store.writes import Key, Table
from nilometer.flows.recovery.history import show


@pytest.fixture
def world(store: Store, objects: Objects, tmp_path: Path) -> ToldWorld:
    return ToldWorld(store, objects, tmp_path / "lake")


def test_equal_records_are_equal(world: ToldWorld) -> None:
    """Created, changed, removed; numbers, bytes, sets and what is redacted."""
    one = record(
        "a", limit=Decimal("0.10"), tags={"x", "y"}, evidence=b"\x00\x01", email="zoe@x.de", nested={"n": [1, None]}
    )
    two = record("b", version=2)
    world.change(one)
    world.change(record("b"))
    world.change(two, record("b"))
    world.change(record("c"))
    world.change(None, record("c"))
    world.put(one)
    world.put(two)

    report = world.check("records")

    assert (report.ok, report.compared, report.differences) == (True, 2, [])


@pytest.mark.parametrize(
    ("stored", "audited", "kind"),
    [
        (record("a"), None, DifferenceKind.MISSING_IN_LAKE),
        (None, record("a"), DifferenceKind.MISSING_IN_TABLE),
        (record("a", plan="team"), record("a", plan="free"), DifferenceKind.DIFFERENT),
    ],
    ids=lambda value: value.value if isinstance(value, DifferenceKind) else "",
)
def test_a_difference_is_found(world: ToldWorld, stored: Any, audited: Any, kind: DifferenceKind) -> None:
    if stored:
        world.put(stored)
    if audited:
        world.change(audited)

    report = world.check("records")

    assert not report.ok
    assert [(found.kind, found.key) for found in report.differences] == [(kind, ("a", "BILLING"))]


def test_what_changed_just_now_is_in_flight(world: ToldWorld) -> None:
    """Its change may not have reached the lake yet."""
    world.put(record("a", updated_at="2026-11-23T11:59:30.000Z"))

    report = world.check("records")

    assert (report.ok, report.in_flight) == (True, 1)


def test_images_in_s3_are_compared_too(world: ToldWorld) -> None:
    item = record("a", plan="team")
    reference = world.verification.objects.put("payloads", json.dumps({"old_image": None, "new_image": item}).encode())
    world.change(item, new_image=None, images_ref=reference)
    world.put(item)

    assert world.check("records").ok


def test_an_image_that_is_gone_ends_nothing(world: ToldWorld) -> None:
    """After a restore from the lake alone: its record is named, and the others are compared."""
    for name in ("a", "b"):
        world.put(record(name))
    world.change(record("a"), new_image=None, images_ref=f"payloads/{64 * 'a'}")
    world.change(record("b"))

    report = world.check("records")
    steps = world.check("steps")

    assert (report.compared, [one.key for one in report.differences]) == (2, [("a", "BILLING")])
    assert "does not exist" in report.differences[0].lake["image"]
    assert (steps.compared, [one.fields for one in steps.differences]) == (2, [("images",)])


def test_counters_are_the_sums_of_usage(world: ToldWorld) -> None:
    """Shards are added, days and periods apart; what was voided counts no more."""
    world.append(
        USAGE,
        usage("u1", quantity="1.5"),
        usage("u2", quantity="2"),
        usage("gone", quantity="7"),
        usage("void", quantity="-7", voids_source="/services/inference", voids_id="gone", created=1_795_478_400),
    )
    for item in (counter("1.5"), counter("2", shard=1), counter("3.5", scope="day", count=2)):
        world.put(item)

    report = world.check("counters")

    assert (report.differences, report.compared) == ([], 2)


@pytest.mark.parametrize("wrong", [counter("4", count=2), counter("3.5", count=3)], ids=["total", "count"])
def test_a_wrong_counter_is_found(world: ToldWorld, wrong: dict[str, Any]) -> None:
    world.append(USAGE, usage("u1", quantity="1.5"), usage("u2", quantity="2"))
    for item in (wrong, counter("3.5", scope="day", count=2)):
        world.put(item)

    report = world.check("counters")

    assert [(found.kind, found.key[2]) for found in report.differences] == [
        (DifferenceKind.DIFFERENT, "2026-11-01T00:00:00.000Z")
    ]


def test_facts_are_rows(world: ToldWorld) -> None:
    """And old rows, whose facts have expired, are no difference."""
    for event_id, received in (("evt_1", OLD), ("evt_2", OLD), ("evt_old", "2026-09-01T00:00:00.000Z")):
        world.append(STRIPE_EVENTS, stripe_event(event_id, received_at=received))
    for event_id in ("evt_1", "evt_3"):
        fact = {"pk": event_id, "sk": "FACT", "kind": "stripe_event", "event_id": event_id, "version": 1}
        world.put(fact | {"type": "invoice.paid", "account": "self", "received_at": OLD}, table=Table.EVENTS)

    report = world.check("stripe_events")

    assert [(found.kind, found.key[1]) for found in report.differences] == [
        (DifferenceKind.MISSING_IN_TABLE, "evt_2"),
        (DifferenceKind.MISSING_IN_LAKE, "evt_3"),
    ]


def test_usage_facts_are_rows_of_the_same_quantity(world: ToldWorld) -> None:
    world.append(USAGE, usage("u1", quantity="1.50", received_at=OLD), usage("u2", quantity="100", received_at=OLD))
    for event_id, quantity in (("u1", "1.5"), ("u2", "101")):
        fact = {"pk": event_id, "sk": "FACT", "kind": "usage_event", "event_id": event_id, "version": 1}
        fact |= {"source": "/services/inference", "quantity": Decimal(quantity), "received_at": OLD}
        world.put(fact, table=Table.EVENTS)

    report = world.check("usage_events")

    assert [(found.kind, found.table, found.lake) for found in report.differences] == [
        (DifferenceKind.DIFFERENT, "101", "100")
    ]


def test_nothing_equals_nothing(world: ToldWorld) -> None:
    """Every check passes on an empty stack."""
    assert [report.ok for report in world.verification.run()] == [True] * 6


def test_history_is_the_audit_of_one_record(world: ToldWorld) -> None:
    """In order, with what each step changed; as of a time, only what had happened by then."""
    free, team = record("WORKSPACE#ws_1", plan="free", workspace_id="ws_1"), record("WORKSPACE#ws_1", plan="team")
    world.change(free, at=1_795_420_000)
    world.change(team | {"workspace_id": "ws_1"}, free, at=1_795_430_000)
    world.change(record("WORKSPACE#ws_10", plan="other"), at=1_795_420_000)
    ask = {"ledger": world.verification.ledger, "objects": world.verification.objects}

    steps = list(show("billing", "ws_1", **ask))
    before = dict(
        state(show("billing", "WORKSPACE#ws_1/BILLING", as_of=datetime.fromtimestamp(1_795_425_000, UTC), **ask))
    )

    assert [step.fields.get("plan") for step in steps] == [(None, "free"), ("free", "team")]
    assert before[Key("WORKSPACE#ws_1", "BILLING")]["plan"] == "free"
    assert list(show("meter", "ws_1", **ask)) == []
