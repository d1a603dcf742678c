"""What a billing record keeps of an object: as little as its fold needs, and nothing of what no longer counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nilometer.domain.stripe.event import SUMMARY
from nilometer.domain.stripe.registers.projection import Projection
from nilometer.domain.stripe.registers.register import Register
from nilometer.domain.stripe.registers.resolve import Resolution, resolve

_OF_THE_BOOKS = frozenset({"unit_amount", "currency", "interval", "interval_count", "usage_type"})

View = Mapping[str, Any]
PERIODS = 14  # newest billing periods of a subscription


def view(register: Register) -> dict[str, Any] | None:
    """None when the object adds nothing to its workspace's billing: a paid invoice, a finished schedule."""
    return view_of(register, resolve(register))


def view_of(register: Register, resolution: Resolution | None) -> dict[str, Any] | None:
    """The same, of a register that was resolved before."""
    if resolution is None:
        return None
    state = resolution.state
    made = _VIEWS.get(str(state["object"]), _nothing)(state, register)
    if made is None:
        return None
    doubt = {"doubt": True} if resolution.ambiguous else {}
    unread = {"unreadable": state["unreadable"]} if "unreadable" in state else {}
    return {"object": state["object"], **made, **unread, **doubt}


def view_key(object_type: str, object_id: str) -> str:
    """The name of a view within its customer; a summary has its customer's id."""
    return "entitlements" if object_type == SUMMARY else object_id


def periods_of(register: Register, ended_at: int | None) -> list[list[int]]:
    """Half-open [start, end), ascending, without overlaps: a later start ends what ran before it."""
    found: list[list[int]] = []
    for start, seen in sorted(register.periods.items()):
        if found:
            found[-1][1] = min(found[-1][1], start)
        found.append([start, seen.end])
    if ended_at is not None and found:
        found[-1][1] = min(found[-1][1], ended_at)
    return [bounds for bounds in found if bounds[0] < bounds[1]][-PERIODS:]


def _subscription(state: Projection, register: Register) -> dict[str, Any]:
    left_out = {"id", "object", "customer", "workspace_id", "collection_method"}
    kept = {name: value for name, value in state.items() if name not in left_out}
    items = [{name: item[name] for name in item if name not in _OF_THE_BOOKS} for item in state.get("items", ())]
    return {**kept, "items": items, "periods": periods_of(register, state.get("ended_at"))}


def _invoice(state: Projection, _register: Register) -> dict[str, Any] | None:
    if state.get("status") != "open" or state.get("deleted"):
        return None
    names = (
        "created", "amount_remaining", "currency", "attempt_count", "next_payment_attempt", "due_date", "finalized_at",
        "subscription",
    )  # fmt: skip
    return {name: state[name] for name in names if name in state}


def _customer(state: Projection, _register: Register) -> dict[str, Any]:
    """Who is deleted owes nothing and pays with nothing, whether an event said so or a 404."""
    if state.get("deleted"):
        return {"deleted": True}
    return {name: state[name] for name in ("delinquent", "default_payment_method") if name in state}


def _payment_method(state: Projection, _register: Register) -> dict[str, Any] | None:
    if "customer" not in state:
        return None
    return {name: state[name] for name in ("type", "exp_month", "exp_year") if name in state}


def _schedule(state: Projection, _register: Register) -> dict[str, Any] | None:
    if state.get("status") not in {"not_started", "active"}:
        return None
    return {name: state[name] for name in ("subscription", "phases", "end_behavior") if name in state}


def _summary(state: Projection, _register: Register) -> dict[str, Any]:
    return {"features": state["features"]}


def _charge(state: Projection, _register: Register) -> dict[str, Any] | None:
    """A dispute or a warning is an object of its own; a refund is told by its charge."""
    if not state.get("amount_refunded"):
        return None
    return {name: state[name] for name in ("created", "amount_refunded", "currency") if name in state}


def _dispute(state: Projection, _register: Register) -> dict[str, Any]:
    return {name: state[name] for name in ("created", "status", "reason", "charge") if name in state}


def _warning(state: Projection, _register: Register) -> dict[str, Any]:
    return {name: state[name] for name in ("created", "fraud_type", "charge") if name in state}


def _nothing(_state: Projection, _register: Register) -> None:
    return None


_VIEWS: Mapping[str, Callable[[Projection, Register], dict[str, Any] | None]] = {
    "subscription": _subscription,
    "invoice": _invoice,
    "customer": _customer,
    "payment_method": _payment_method,
    "subscription_schedule": _schedule,
    "charge": _charge,
    "dispute": _dispute,
    "radar.early_fraud_warning": _warning,
    SUMMARY: _summary,
}
