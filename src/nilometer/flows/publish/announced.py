"""The data of every event that the stack announces, as types: their JSON Schemas are made of them.

The types describe and do not decode: what is announced is made in `flows.lake.announcing`. Data may grow, so a
subscriber passes over what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

import msgspec

from nilometer.domain.access import lockout
from nilometer.domain.billing.record.changes import BILLING_EVENTS, LIMITS_CHANGED, OWN_LIMITS_FIELDS
from nilometer.domain.events.reject import FLOWS, rejected_type
from nilometer.domain.lake.tables import AUDIT, Column, Type
from nilometer.domain.limits.reached import LIMIT_BLOCKED, THRESHOLD_REACHED
from nilometer.domain.notices.webhook import WEBHOOK_DISABLED
from nilometer.flows.inbox.envelope import RECORD_CHANGED
from nilometer.flows.inbox.wire import Instant

Number = Annotated[
    int | float | str,
    msgspec.Meta(
        description="As text where a 64-bit float would not be exact", examples=[1000, "0.100000000000000001"]
    ),
]
Seconds = Annotated[int, msgspec.Meta(description="Epoch seconds")]
WorkspaceId = Annotated[str, msgspec.Meta(description="The workspace")]
Cause = Annotated[
    str | None,
    msgspec.Meta(description="Id of the event that caused the change; hashed (`~...`) where it might be an address"),
]


class RejectAnnounced(msgspec.Struct, kw_only=True):
    """An event was refused for good and is kept for 40 days; its payload is not announced."""

    reject_id: Annotated[str, msgspec.Meta(description="Of the kept payload: `nilometer rejects show`")]
    flow: str
    reason: Annotated[str, msgspec.Meta(description="A stable snake_case code")]
    message: str
    event_id: Annotated[str | None, msgspec.Meta(description="Of the refused event, as far as it could be read")]
    source: str | None
    workspace_id: Annotated[str | None, msgspec.Meta(description="As the refused event named it")]
    received_at: Instant


class PausedCollection(msgspec.Struct, kw_only=True):
    """Stripe collects nothing: `behavior` says what becomes of the invoices meanwhile."""

    behavior: str | None = None
    resumes_at: Seconds | None = None


class PhaseItem(msgspec.Struct, kw_only=True):
    """One price of a scheduled phase."""

    price: str | None
    quantity: int | None


class ScheduledPhase(msgspec.Struct, kw_only=True):
    """The next phase of a subscription's schedule."""

    start: Seconds | None
    end: Seconds | None
    items: list[PhaseItem]


class PaymentMethodShown(msgspec.Struct, kw_only=True):
    """Which payment method is the default. No number and no expiry is announced."""

    id: str | None
    type: str | None


class OpenDunning(msgspec.Struct, kw_only=True):
    """The oldest open invoice whose payment failed, or that fell due."""

    invoice: str
    attempts: int
    next_attempt: Seconds | None
    since: Seconds | None
    stage: Literal["retrying", "exhausted", "overdue"]


class OpenInvoice(msgspec.Struct, kw_only=True):
    """An invoice that waits to be paid. Amounts are in the currency's smallest unit."""

    id: str
    subscription: str | None
    created: Seconds | None
    finalized_at: Seconds | None
    due_date: Seconds | None
    amount_remaining: int | None
    currency: str | None
    attempt_count: int | None
    next_payment_attempt: Seconds | None


class ThresholdReached(msgspec.Struct, kw_only=True):
    """Usage of a meter has reached a percent of its limit: once a period, threshold and version of the limit."""

    workspace_id: WorkspaceId
    meter: str
    percent: Annotated[str, msgspec.Meta(description="Of `limit`, as the limit's `thresholds` say", examples=["80"])]
    limit: Annotated[Number | None, msgspec.Meta(description="What is included, or the hard limit if that is less")]
    used: Annotated[Number, msgspec.Meta(description="When it was seen; it may be more than the threshold")]
    period_start: Instant
    period_end: Instant
    reached_at: Instant
    limit_version: Annotated[str, msgspec.Meta(description="Changes exactly when the limit does")]
    cause: Cause


class LimitBlocked(msgspec.Struct, kw_only=True):
    """A hard limit is reached: from `blocked_from` on checks say no, until the period ends or the limit is raised."""

    workspace_id: WorkspaceId
    meter: str
    limit: Annotated[Number, msgspec.Meta(description="The hard limit")]
    used: Annotated[Number, msgspec.Meta(description="When it was seen; it may be more than the limit")]
    period_start: Instant
    period_end: Instant
    reached_at: Instant
    blocked_from: Annotated[Instant, msgspec.Meta(description="Later than `reached_at` by the limit's grace")]
    limit_version: Annotated[str, msgspec.Meta(description="Changes exactly when the limit does")]
    cause: Cause


class WebhookDisabled(msgspec.Struct, kw_only=True):
    """A webhook is switched off because its receiver failed for days, or is gone; an update switches it on again."""

    workspace_id: WorkspaceId
    webhook_id: str
    reason: Literal["failing", "gone"]
    failing_since: Instant | None


class PaymentRisk(msgspec.Struct, kw_only=True):
    """Signs of risk in a workspace's payments, the gravest as `flag`. It blocks nothing."""

    flag: Literal["dispute", "warning", "refund"]
    open_disputes: int
    lost_disputes: int
    warnings: int
    refunded_charges: int
    objects: list[str]


class ClaimConflict(msgspec.Struct, kw_only=True):
    """A customer that a buyer linked and that does not count until an operator decides."""

    customer: str
    claimed_by: str
    object: str
    created: Seconds


class AmountsShown(msgspec.Struct, kw_only=True):
    """What a rule of a limit says, each part only when it is said."""

    included: Number | None = None
    soft: Number | None = None
    hard: Number | None = None
    overage: str | None = None
    grace: str | int | None = None
    thresholds: list[Number] | None = None


class RuleShown(AmountsShown, kw_only=True):
    """A limit of a meter. Absent amounts follow from the others; null is unlimited."""

    source: str | None = None
    version: str | None = None


class OwnLimitShown(AmountsShown, kw_only=True):
    """One override of a meter's limit, or one grant: its `amount`. `ends_at` is RFC 3339, of all fields or by field."""

    amount: Number | None = None
    ends_at: str | None = None
    ends: dict[str, str] | None = None


BILLING_FIELDS: Mapping[str, Any] = {
    "subscription": str,
    "status": Annotated[str, msgspec.Meta(description="Of the subscription at Stripe; `none` without one")],
    "pause": PausedCollection,
    "plan": str,
    "limits": Annotated[dict[str, Number | None], msgspec.Meta(description="By meter; null is unlimited")],
    "limit_rules": dict[str, RuleShown],
    "own_limits": Annotated[dict[str, OwnLimitShown], msgspec.Meta(description="By meter, a grant as `meter/grant`")],
    "seats": int,
    "features": list[str],
    "access": Literal["full", "grace", "none"],
    "trial_start": Seconds,
    "trial_end": Seconds,
    "cancel_at": Seconds,
    "cancel_at_period_end": bool,
    "ended_at": Seconds,
    "scheduled_change": ScheduledPhase,
    "current_period_start": Seconds,
    "current_period_end": Seconds,
    "payment_method": PaymentMethodShown,
    "risk": PaymentRisk,
    "conflicts": list[ClaimConflict],
    "dunning": OpenDunning,
    "invoice": OpenInvoice,
}
"""The type of each field of `before` and `after`; null where the record has none."""

_MEANINGS = {
    "billing.subscription_changed.v1": "The subscription that counts is another one, or has another status",
    "billing.plan_changed.v1": "The plan has another name",
    LIMITS_CHANGED: "What the plan includes changed, or the workspace's own limits",
    "billing.seats_changed.v1": "The number of seats changed",
    "billing.features_changed.v1": "The active entitlements changed",
    "billing.access_changed.v1": "Access is full, grace (past due) or none",
    "billing.trial_changed.v1": "A trial begins or ends at another time",
    "billing.cancellation_changed.v1": "A cancellation was requested, withdrawn, or took effect",
    "billing.change_scheduled.v1": "The next phase of the subscription's schedule changed",
    "billing.period_changed.v1": "A billing period began, or has other bounds",
    "billing.payment_method_changed.v1": "The default payment method, or what is known of it, changed",
    "billing.risk_changed.v1": "A dispute, an early fraud warning or a refund appeared or ended",
    "billing.conflicts_changed.v1": "Customers that claim the workspace in vain changed",
    "billing.invoice_changed.v1": "An invoice is open, changed while it was, or is open no more (`after` null)",
    "billing.payment_failed.v1": "A further attempt to collect an open invoice failed",
    "billing.payment_recovered.v1": "Nothing is unpaid any more, and access is full",
}


def announced_data(event_type: str) -> type:
    """The type of the event's `data`; `KeyError` for a type that the stack does not announce."""
    return _shapes()[event_type]


@cache
def _shapes() -> Mapping[str, type]:
    billing = {event_type: _billing(event_type, fields) for event_type, fields in BILLING_EVENTS.items()}
    rejects = {rejected_type(flow): RejectAnnounced for flow in FLOWS}
    limits: Mapping[str, type] = {THRESHOLD_REACHED: ThresholdReached, LIMIT_BLOCKED: LimitBlocked}
    own = {WEBHOOK_DISABLED: WebhookDisabled, lockout.LOCKED_OUT: lockout.LockedOut}
    return {RECORD_CHANGED: _audit(), **own, **limits, **rejects, **billing}


def _billing(event_type: str, fields: tuple[str, ...]) -> type:
    name = "".join(word.capitalize() for word in event_type.split(".")[1].split("_"))
    state = _limits() if event_type == LIMITS_CHANGED else _state(f"{name}State", fields)
    parts = [("workspace_id", WorkspaceId), ("cause", Cause), ("before", state), ("after", state)]
    return msgspec.defstruct(name, parts, namespace={"__doc__": f"{_MEANINGS[event_type]}."}, kw_only=True)


def _state(name: str, fields: tuple[str, ...]) -> type:
    parts = [(field, BILLING_FIELDS[field] | None) for field in fields]
    return msgspec.defstruct(name, parts, namespace={"__doc__": "The fields that the event is about."}, kw_only=True)


def _limits() -> type:
    """Either what the plan says or the workspace's own limits: the two stand in different records."""
    names = (*BILLING_EVENTS[LIMITS_CHANGED], *OWN_LIMITS_FIELDS)
    parts = [(name, BILLING_FIELDS[name] | None | msgspec.UnsetType, msgspec.UNSET) for name in names]
    namespace = {"__doc__": "Of the plan `limits` and `limit_rules`, or of the workspace itself `own_limits`."}
    return msgspec.defstruct("LimitsChangedState", parts, namespace=namespace, kw_only=True)


_TYPES: Mapping[Type, Any] = {Type.STRING: str, Type.INT64: int, Type.TIMESTAMP: Instant}
_JSON: Mapping[str, Any] = {"changed_fields": list[str]}


def _audit() -> type:
    """A row of the table `audit` without what the lake's writer adds."""
    parts = [(column.name, _column(column)) for column in AUDIT.columns if not column.stamped]
    namespace = {"__doc__": f"A record changed: {AUDIT.meaning[0].lower()}{AUDIT.meaning[1:]}"}
    return msgspec.defstruct("RecordChanged", parts, namespace=namespace, kw_only=True)


def _column(column: Column) -> Any:
    is_json = column.type is Type.JSON
    bare = _JSON.get(column.name, dict[str, Any]) if is_json else _TYPES[column.type]
    return Annotated[bare | None if column.nullable else bare, msgspec.Meta(description=column.meaning)]
