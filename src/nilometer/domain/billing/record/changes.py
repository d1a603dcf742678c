"""What changed for a workspace between two versions of its billing record: events for internal services.

Effects hang on the change of the resolved record, never on a delivery: however often and in whatever order Stripe's
events come, a change is said once. A record's version is part of the id, so a copy is known from a new change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

Record = Mapping[str, Any]

LIMITS_CHANGED = "billing.limits_changed.v1"

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "billing.subscription_changed.v1": ("subscription", "status", "pause"),
    "billing.plan_changed.v1": ("plan",),
    LIMITS_CHANGED: ("limits", "limit_rules"),
    "billing.seats_changed.v1": ("seats",),
    "billing.features_changed.v1": ("features",),
    "billing.access_changed.v1": ("access",),
    "billing.trial_changed.v1": ("trial_start", "trial_end"),
    "billing.cancellation_changed.v1": ("cancel_at", "cancel_at_period_end", "ended_at"),
    "billing.change_scheduled.v1": ("scheduled_change",),
    "billing.period_changed.v1": ("current_period_start", "current_period_end"),
    "billing.payment_method_changed.v1": ("payment_method",),
    "billing.risk_changed.v1": ("risk",),
    "billing.conflicts_changed.v1": ("conflicts",),
}
_FAILED = "billing.payment_failed.v1"
_RECOVERED = "billing.payment_recovered.v1"

_INVOICE = "billing.invoice_changed.v1"
INVOICE_FIELDS = (
    "id", "subscription", "created", "finalized_at", "due_date", "amount_remaining", "currency", "attempt_count",
    "next_payment_attempt",
)  # fmt: skip

BILLING_EVENTS: Mapping[str, tuple[str, ...]] = {
    **_FIELDS,
    _FAILED: ("dunning",),
    _RECOVERED: ("dunning",),
    _INVOICE: ("invoice",),
}
"""Every type, with the fields of the record that `before` and `after` have."""
OWN_LIMITS_FIELDS = ("own_limits",)
"""The same of `billing.limits_changed.v1` when it announces the workspace's own limits."""

_SHOWN: Mapping[str, tuple[str, ...]] = {"payment_method": ("id", "type")}
"""What is announced of a field of which not all may be: when a card expires is nobody's business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingChange:
    """`before` and `after` hold the fields that the type is about; `cause` is Stripe's event."""

    id: str
    type: str
    workspace_id: str
    cause: str | None
    before: Mapping[str, Any]
    after: Mapping[str, Any]


def billing_changes(old: Record | None, new: Record | None) -> list[BillingChange]:
    """Of one write of a billing record; nothing for a customer without workspace or a record that is gone."""
    if new is None or not new.get("workspace_id"):
        return []
    before = old or {}
    found = [
        _change(type_, names, before, new)
        for type_, names in _FIELDS.items()
        if any(_value(before, name) != _value(new, name) for name in names)
    ]
    return [*found, *_payments(before, new), *_invoices(before, new)]


def own_limits_changes(old: Record | None, new: Record | None) -> list[BillingChange]:
    """The same of the workspace's own limits; `limits.check` returns their result."""
    before = old or {}
    if new is None or before.get("own_limits", {}) == new["own_limits"]:
        return []
    told = _change(LIMITS_CHANGED, OWN_LIMITS_FIELDS, before, new)
    return [replace(told, id=f"own:{told.id}")]  # the two records count their versions apart


def _payments(old: Record, new: Record) -> list[BillingChange]:
    """A further failed attempt, of the same or another invoice; or nothing unpaid any more."""
    before, after = old.get("dunning"), new.get("dunning")
    if after and (not before or (before["invoice"], before["attempts"]) != (after["invoice"], after["attempts"])):
        return [_change(_FAILED, ("dunning",), old, new)]
    return [_change(_RECOVERED, ("dunning",), old, new)] if before and not after and _lives(new) else []


def _invoices(old: Record, new: Record) -> Iterator[BillingChange]:
    """One an invoice that became open, changed while it was, or is open no more."""
    before, after = _open(old), _open(new)
    for id_ in sorted(before.keys() | after.keys()):
        if before.get(id_) != after.get(id_):
            images = {"invoice": before.get(id_)}, {"invoice": after.get(id_)}
            told = _change(_INVOICE, (), old, new)
            yield replace(told, id=f"{told.id}:{id_}", before=images[0], after=images[1])


def _open(record: Record) -> dict[str, Mapping[str, Any]]:
    found = record.get("open_invoices") or ()
    return {str(one["id"]): {name: one.get(name) for name in INVOICE_FIELDS} for one in found}


def _lives(record: Record) -> bool:
    """An invoice that is void because the subscription ended was not paid."""
    return record.get("access") == "full"


def _change(type_: str, names: tuple[str, ...], old: Record, new: Record) -> BillingChange:
    return BillingChange(
        id=f"{new['workspace_id']}:{new['version']}:{type_}",
        type=type_,
        workspace_id=str(new["workspace_id"]),
        cause=new.get("cause"),
        before={name: _shown(old, name) for name in names},
        after={name: _shown(new, name) for name in names},
    )


def _shown(record: Record, name: str) -> Any:
    value = record.get(name)
    if value and name in _SHOWN:
        return {part: value.get(part) for part in _SHOWN[name]}
    return value


def _value(record: Record, name: str) -> Any:
    """A record that is not there yet has nothing: equal to an empty one."""
    value = record.get(name)
    return None if value in ({}, [], "none", False) else value
