"""What speaks against a workspace's payments: disputes, early fraud warnings, refunds. A flag; nothing is blocked.

Source: https://docs.stripe.com/api/disputes/object, https://docs.stripe.com/api/radar/early_fraud_warnings/object.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nilometer.domain.store.writes import Item, Key
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.registers.item import register_key
from nilometer.domain.stripe.registers.projection import Projection
from nilometer.domain.stripe.registers.view import View

DISPUTE, WARNING, CHARGE = "dispute", "radar.early_fraud_warning", "charge"
RISKS = (DISPUTE, WARNING, CHARGE)
_NAMING = frozenset({DISPUTE, WARNING})
NAMED = 10  # the newest objects that a flag names
_HARMLESS = {"won", "warning_closed", "prevented"}


def risk(views: Iterable[tuple[str, View]]) -> dict[str, Any] | None:
    """`flag` is the gravest: `dispute` (open or lost), `warning`, `refund`; None when there is nothing.

    A dispute with a status that we do not know counts as open.
    """
    counted = [(id_, view, what) for id_, view in views if (what := _what(view))]
    if not counted:
        return None
    found = [what for _, _, what in counted]
    newest = sorted(counted, key=lambda one: (int(one[1].get("created") or 0), one[0]), reverse=True)
    return {
        "flag": _flag(found),
        "open_disputes": found.count("open"),
        "lost_disputes": found.count("lost"),
        "warnings": found.count("warning"),
        "refunded_charges": found.count("refund"),
        "objects": [id_ for id_, _, _ in newest[:NAMED]],
    }


def charges(scope: Scope, states: Iterable[Projection]) -> set[Key]:
    """The registers of the charges that disputes and warnings name."""
    return {
        register_key(scope, CHARGE, str(state["charge"]), None)
        for state in states
        if state.get("object") in _NAMING and state.get("charge")
    }


def owner(charge: Item | None) -> str | None:
    """The customer of a charge's register; a guest's charge has none."""
    return (charge or {}).get("customer_id")


def _what(view: View) -> str | None:
    match view["object"], view.get("status"):
        case ("dispute", "lost"):
            return "lost"
        case ("dispute", status):
            return None if status in _HARMLESS else "open"
        case ("radar.early_fraud_warning", _):
            return "warning"
        case _:
            return "refund"


def _flag(found: Iterable[str]) -> str:
    kinds = set(found)
    return "dispute" if kinds & {"open", "lost"} else "warning" if "warning" in kinds else "refund"
