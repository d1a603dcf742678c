"""What a group asks for, and what it refuses to decide on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.events.stripe import created, event
from tests.support.stores.writes import Memory

from nilometer.domain.billing.group import Evidence, Group, Torn
from nilometer.domain.billing.plan import Plan
from nilometer.domain.billing.record.fold import record_item
from nilometer.domain.billing.record.inputs import Inputs
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Check, Item, Key, Put
from nilometer.domain.stripe.event import Scope, StripeEvent
from nilometer.domain.stripe.registers.register import of_event

LINK = keys.link("self", False, "cus_1")


def group(*events: StripeEvent) -> Group:
    evidence = tuple(
        Evidence(element=of_event(e), object_type=e.object_type, object_id=e.object_id, fact=fact(e)) for e in events
    )
    return Group(scope=Scope(), customer_id="cus_1", evidence=evidence, updated_at="now")


def fact(event: StripeEvent) -> Item:
    return {"pk": event.id, "sk": "FACT", "event_id": event.id, "kind": "stripe_event"}


def planned(wanted: Group, stored: dict[Key, Item]) -> Plan:
    known: dict[Key, Item | None] = {}
    plan = Plan(wanted, known)
    while plan.missing:
        known |= {key: stored.get(key) for key in plan.missing}
        plan = Plan(wanted, known)
    return plan


def test_a_link_that_its_record_does_not_know_is_torn() -> None:
    """The record was read before the link was made: nothing is written on that."""
    link = {"version": 1, "workspace_id": "ws", "claims": {"cus_1": [0, 1, "cus_1", "ws"]}}
    record = record_item(keys.billing("ws"), Inputs(), workspace_id="ws", version=3, cause="e", updated_at="now")
    plan = planned(group(created(100, status="active")), {LINK: link, keys.billing("ws"): record})

    with pytest.raises(Torn):
        plan.writes()


def test_an_unlinked_customer_waits_in_a_record_of_its_own() -> None:
    """On condition that nobody has linked it meanwhile."""
    writes = planned(group(created(100, status="active")), {}).writes()

    assert [write.key for write in writes if isinstance(write, Check)] == [LINK]
    assert "BILLING" in [write.key.sk for write in writes if isinstance(write, Put)]


def test_what_no_view_shows_writes_no_record() -> None:
    """A paid invoice costs its register and its fact alone."""
    plan = planned(group(event("invoice.paid", 100, status="paid")), {})
    writes, facts = plan.writes(), plan.facts()

    assert [write.key.sk for write in writes] == ["INVOICE#invoice_1"]
    assert [fact["sk"] for fact in facts] == ["FACT"]


# ---------------------------------------------------------------------- disputes

CHARGE = event("charge.succeeded", 100)
DISPUTE = event("charge.dispute.created", 100, object="dispute", id="dp_1", charge="charge_1", customer=None)


@pytest.mark.parametrize("first", [CHARGE, DISPUTE])
def test_of_a_dispute_and_its_charge_the_later_sees_the_other(first: StripeEvent) -> None:
    """Both were decided on nothing: whichever commits second is refused, and decided again has the dispute."""
    second = DISPUTE if first is CHARGE else CHARGE
    groups = {one.id: replace(group(one), customer_id=one.customer_id) for one in (CHARGE, DISPUTE)}
    stored, twin = Memory(), planned(groups[second.id], {})
    stored.commit(planned(groups[first.id], stored).writes())

    with pytest.raises(AssertionError, match="condition"):
        stored.commit(twin.writes())
    stored.commit(planned(groups[second.id], stored).writes())

    [record] = [item for item in stored.values() if item["kind"] == "billing"]
    assert record["risk"]["objects"] == ["dp_1"]
    assert not any(item["kind"] == "waiting_risk" for item in stored.values())
