"""Whose a dispute or an early fraud warning is: it names a charge, and the charge its customer.

Known charge: the dispute is decided with the customer's group. Not yet: what it says waits beside the charge, on
condition that the charge is as read; the event that tells the charge's customer takes it along, on condition that
nothing else began to wait. Whichever commits second sees the first, so the order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nilometer.domain.billing.risk import CHARGE, DISPUTE, WARNING
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.registers.item import register_key
from nilometer.domain.stripe.registers.projection import Projection
from nilometer.domain.stripe.registers.resolve import Resolution
from nilometer.domain.stripe.registers.view import View

NAMING = frozenset({DISPUTE, WARNING})


def charges(scope: Scope, states: Iterable[Projection]) -> set[Key]:
    """The registers of the charges that disputes and warnings name."""
    return {
        register_key(scope, CHARGE, str(state["charge"]), None)
        for state in states
        if state.get("object") in NAMING and state.get("charge")
    }


def owner(charge: Item | None) -> str | None:
    """The customer of a charge's register; a guest's charge has none."""
    return (charge or {}).get("customer_id")


def found_owner(before: Resolution | None, after: Resolution | None) -> bool:
    """Whether a charge's customer was not known before and is now."""
    known, told = (bool(one and one.state.get("customer")) for one in (before, after))
    return told and not known


def waiting_views(waiting: Item | None) -> dict[str, View]:
    return dict((waiting or {}).get("views", {}))


def waiting_item(
    charge: Key,
    stored: Item | None,
    views: Mapping[str, View],
    *,
    scope: Scope,
    cause: str,
    updated_at: str,
) -> Item:
    """What waits beside `charge`: the views of disputes and warnings by id."""
    key = keys.risk_waiting(charge)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "kind": "waiting_risk",
        "version": int(stored["version"]) + 1 if stored else 1,
        "updated_at": updated_at,
        "cause": cause,
        "actor": None,
        "account": scope.account,
        "livemode": scope.livemode,
        "views": {**waiting_views(stored), **views},
    }
