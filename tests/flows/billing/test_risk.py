"""Disputes, early fraud warnings and refunds reach their workspace's record, in any order."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from tests.support.flows.billing_play import in_any_order, play, records
from tests.support.stores.engine import new_store

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.record.inputs import inputs_of
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.flows.billing import reading

_SECOND = 1_795_000_000


def stripe(kind: str, second: int, before: dict[str, Any] | None = None, **state: Any) -> dict[str, Any]:
    data = {"object": {"livemode": False, "created": _SECOND, **state}, "previous_attributes": before}
    return {
        "id": f"evt_{kind}_{state['id']}_{second}",
        "object": "event",
        "type": kind,
        "created": _SECOND + second,
        "livemode": False,
        "api_version": "2026-10-28.endive",
        "data": data if before else {"object": data["object"]},
    }


def charge(kind: str, second: int, **state: Any) -> dict[str, Any]:
    known = {"id": "ch_1", "object": "charge", "customer": "cus_1", "currency": "usd", "amount_refunded": 0}
    return stripe(kind, second, **{**known, **state})


def dispute(kind: str, second: int, status: str, before: dict[str, Any] | None = None) -> dict[str, Any]:
    known = {"id": "dp_1", "object": "dispute", "charge": "ch_1", "reason": "fraudulent", "status": status}
    return stripe(kind, second, before, **known)


def warning(second: int) -> dict[str, Any]:
    known = {"id": "issfr_1", "object": "radar.early_fraud_warning", "charge": "ch_1", "fraud_type": "card_never"}
    return stripe("radar.early_fraud_warning.created", second, **known)


CUSTOMER = stripe("customer.created", 0, id="cus_1", object="customer", metadata={"workspace_id": "ws"})
DISPUTED = dispute("charge.dispute.created", 2, "needs_response")
LOST = dispute("charge.dispute.closed", 3, "lost", {"status": "needs_response"})
STORY = [CUSTOMER, charge("charge.succeeded", 1), DISPUTED, warning(2), LOST]


def told(store: Store) -> Any:
    return records(store)["ws"]["risk"]


@pytest.mark.parametrize("batch", [1, 100])
def test_a_dispute_before_or_after_its_charge_and_customer(batch: int, dynamodb: Any) -> None:
    """Every order, some events twice, one by one or in one batch: the same record, and nothing waits."""
    wanted = {
        "flag": "dispute",
        "open_disputes": 0,
        "lost_disputes": 1,
        "warnings": 1,
        "refunded_charges": 0,
        "objects": ["issfr_1", "dp_1"],
    }
    chance = random.Random(7)
    for order in chance.sample(list(itertools.permutations(STORY)), 14):
        store = new_store(dynamodb)
        events = [*order, *chance.choices(order, k=2)]
        chance.shuffle(events)
        play(store, [*events, *STORY], batch=batch)

        assert told(store) == wanted, [event["id"] for event in events]
        assert [one for one in store.scan(Table.RECORDS) if one["kind"] == "waiting_risk"] == []
        assert set(records(store)) == {"ws"}


def test_a_dispute_without_its_charge_waits_visibly(store: Store) -> None:
    """In its register, and beside the charge."""
    play(store, [CUSTOMER, DISPUTED])

    [waiting] = [one for one in store.scan(Table.RECORDS) if one["kind"] == "waiting_risk"]
    assert list(waiting["views"]) == ["dp_1"]
    assert [one["status"] for one in reading.list_objects(store) if one["object"] == "dispute"] == ["needs_response"]
    assert told(store) is None


def test_a_guests_charge_has_no_workspace(store: Store) -> None:
    """Its dispute waits; should the charge get a customer, it goes there."""
    play(store, [CUSTOMER, charge("charge.succeeded", 1, customer=None), DISPUTED])
    assert told(store) is None

    play(store, [charge("charge.updated", 4)])
    assert told(store)["flag"] == "dispute"


def test_a_won_dispute_is_no_risk(store: Store) -> None:
    """The flag goes with it."""
    play(store, STORY[:3])
    assert told(store)["open_disputes"] == 1

    play(store, [dispute("charge.dispute.closed", 3, "won", {"status": "needs_response"})])
    assert told(store) is None


def test_a_refund_is_told_by_its_charge(store: Store) -> None:
    """However late the charge's first event comes."""
    play(store, [CUSTOMER, charge("charge.refunded", 5, amount_refunded=300), charge("charge.succeeded", 1)])

    assert (told(store)["flag"], told(store)["refunded_charges"], told(store)["objects"]) == ("refund", 1, ["ch_1"])


def test_many_refunds_leave_the_newest(dynamodb: Any, store: Store) -> None:
    """Some fail again: in any order the record is the same, and does not grow with them."""
    charges = [{"id": f"ch_{n:03}", "created": _SECOND + n} for n in range(70)]
    events = [CUSTOMER, *(charge("charge.refunded", 100, amount_refunded=300, **one) for one in charges)]
    events += [charge("charge.updated", 200, **one) for one in charges[52:70:2]]

    risk = in_any_order(dynamodb, events)["ws"]["risk"]
    play(store, events)
    [views] = inputs_of(store.get(Table.RECORDS, keys.billing("ws"))).customers.values()

    assert (risk["refunded_charges"], risk["objects"]) == (20, [f"ch_{n:03}" for n in range(69, 49, -2)])
    assert sum(view["object"] == "charge" for view in views.values()) <= 40


def test_open_disputes_are_all_counted(store: Store) -> None:
    """However many others there are, and however old they are."""
    disputes = [
        stripe("charge.dispute.closed", 9, id=f"dp_{n:03}", object="dispute", charge="ch_1", status="lost")
        | {"id": f"evt_{n}"}
        for n in range(2, 60)
    ]
    play(store, [CUSTOMER, charge("charge.succeeded", 1), DISPUTED, *disputes])

    assert (told(store)["flag"], told(store)["open_disputes"], told(store)["lost_disputes"]) == ("dispute", 1, 20)


def test_disputes_of_live_mode_do_not_meet_test_charges(store: Store) -> None:
    """The charge's key holds the mode."""
    live = {**DISPUTED, "livemode": True, "data": {"object": {**DISPUTED["data"]["object"], "livemode": True}}}
    play(store, [CUSTOMER, charge("charge.succeeded", 1), live])

    assert told(store) is None
