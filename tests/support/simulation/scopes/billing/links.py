"""Scopes of links: whose a customer is, when several objects say so at once and while he changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.simulation.kernel.scope import Plant, Scope
from tests.support.simulation.scopes.billing.customers import consume, played, stripe_event
from tests.support.simulation.scopes.usage.counting import law

from nilometer.domain.billing.record.inputs import inputs_of
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table

CUSTOMER: dict[str, Any] = {"id": "cus_1", "object": "customer"}
SUBSCRIPTION: dict[str, Any] = {
    "id": "sub_1",
    "object": "subscription",
    "customer": "cus_1",
    "items": {"object": "list", "data": []},
}


def two_name_a_workspace(plant: Plant) -> Callable[[], None]:
    """A customer's metadata names one workspace, his subscription's another: the customer's counts, both are known."""
    named = {"metadata": {"workspace_id": "ws"}}
    other = {"metadata": {"workspace_id": "ws_2"}}
    consume(plant, "consumer 1", [stripe_event("customer.created", 0, **CUSTOMER, **named)])
    subscribed = stripe_event("customer.subscription.created", 1, status="active", **SUBSCRIPTION, **other)
    consume(plant, "consumer 2", [subscribed])

    def laws() -> None:
        [link] = plant.store.scan(Table.RECORDS, kind="link")
        law(sorted(link["claims"]) == ["cus_1", "sub_1"], f"claims {link['claims']}")
        law(link["workspace_id"] == "ws", f"he pays for {link['workspace_id']}")
        law(_status(plant, "ws") == "active", "the subscription is not in the record of its payer's workspace")
        law(_status(plant, "ws_2") is None, "the subscription is in two records")

    return laws


def subscribed_alone(plant: Plant) -> None:
    """A customer with a subscription, of whom nobody has said whose he is."""
    subscribed = stripe_event("customer.subscription.created", 1, status="active", **SUBSCRIPTION)
    played(plant, [stripe_event("customer.created", 0, **CUSTOMER), subscribed])


def named_beside_a_change(plant: Plant) -> Callable[[], None]:
    """His workspace is named while his subscription changes: what he had alone moves to its record as it is."""
    named = stripe_event("customer.updated", 2, **CUSTOMER, metadata={"workspace_id": "ws"})
    consume(plant, "consumer 1", [named])
    changed = stripe_event("customer.subscription.updated", 3, status="past_due", **SUBSCRIPTION)
    consume(plant, "consumer 2", [changed])

    def laws() -> None:
        law(_status(plant, "ws") == "past_due", f"the subscription is {_status(plant, 'ws')}")
        records = [item["workspace_id"] for item in plant.store.scan(Table.RECORDS, kind="billing")]
        law(records == ["ws"], f"records of {records}")

    return laws


def _status(plant: Plant, workspace_id: str) -> Any:
    """Of the subscription, by the workspace's record."""
    item = plant.store.get(Table.RECORDS, keys.billing(workspace_id), consistent=True)
    views = (view for part in inputs_of(item).customers.values() for view in part.items())
    return next((view["status"] for name, view in views if name == "sub_1"), None)


SCOPES = (
    Scope("two objects name a customer's workspace", two_name_a_workspace, faults=1),
    Scope("a customer is named beside a change", named_beside_a_change, subscribed_alone, 1),
)
