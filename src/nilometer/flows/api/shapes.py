"""What the API answers, as types: the description is made from them, and clients decode with them.

Numbers that must stay exact are text on the wire and `Decimal` here. A later version may answer further fields; who
decodes passes over what he does not know.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class ApiPage(msgspec.Struct, Generic[T]):
    """A part of a list, and the cursor of the part after it; null at its end."""

    items: list[T]
    next: str | None


class EventAnswer(msgspec.Struct, omit_defaults=True):
    """What became of one event: `accepted`, `duplicate` or `rejected`, and then why."""

    status: str
    id: str | None = None
    reason: str | None = None
    message: str | None = None


class EventsAnswer(msgspec.Struct):
    """How many events are durably queued, and the answer to each in their order."""

    accepted: int
    events: list[EventAnswer]


class RowsAnswer(msgspec.Struct):
    """How many rows are durably queued, as one batch."""

    accepted: int


class MeterAnswer(msgspec.Struct):
    """What a meter counts, and in which unit."""

    meter: str
    unit: str
    aggregation: str
    dimensions: list[str]
    active: bool


class CheckAnswer(msgspec.Struct):
    """What is left of a limit. `used` is what was counted by `as_of`; usage in flight is not in it."""

    allowed: bool
    state: str
    used: Decimal
    included: Decimal | None
    remaining: Decimal | None
    period_start: str
    resets_at: str
    as_of: str
    source: str | None


class ReserveAnswer(msgspec.Struct):
    """`remaining` is what could still be reserved when it was refused; null where nothing limits it."""

    granted: bool
    remaining: Decimal | None


class BlockAnswer(msgspec.Struct):
    """`size` is held under `id` until it is settled or released: 0 when less is left than was asked for, null where
    nothing limits it."""

    id: str
    size: Decimal | None


class SettleAnswer(msgspec.Struct):
    """The usage event of a reservation is durably queued."""

    settled: bool


class ReleaseAnswer(msgspec.Struct):
    """Whether something was given back: not when it had ended before."""

    released: bool


class FlagAnswer(msgspec.Struct):
    """One flag by OFREP."""

    key: str
    value: bool
    variant: str
    reason: str
    metadata: dict[str, Any]


class FlagsAnswer(msgspec.Struct):
    """Every flag by OFREP."""

    flags: list[FlagAnswer]


class WorkspaceAnswer(msgspec.Struct):
    """A workspace. Times are RFC 3339."""

    workspace_id: str
    name: str | None = None
    slug: str | None = None
    status: str | None = None
    shards: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    deleted_until: str | None = None
    admins: int | None = None


class BillingAnswer(msgspec.Struct):
    """Billing of a workspace, as Stripe's events left it. `limits` is what is included by meter, null for no end;
    `limit_rules` has the whole rule. `access` is full, grace or none."""

    workspace: str
    status: str
    access: str
    plan: str | None
    seats: int | None
    features: list[str]
    limits: dict[str, Decimal | None]
    limit_rules: dict[str, dict[str, Any]]
    subscription: str | None
    subscriptions: list[dict[str, Any]]
    current_period_start: int | None = None
    current_period_end: int | None = None
    trial_end: int | None = None
    cancel_at_period_end: bool = False
    delinquent: bool = False
    mode: str | None = None


class UsageAnswer(msgspec.Struct):
    """One meter in the billing period of now. `limit` is what is included, else the hard limit; null is no limit."""

    meter: str
    unit: str
    used: Decimal
    count: int
    limit: Decimal | None
    hard: Decimal | None
    binding: Decimal | None
    state: str
    period_start: str
    period_end: str
    closed: bool
    late_delta: Decimal | None
    late_count: int
    stale: bool


class LimitsAnswer(msgspec.Struct):
    """Limits in effect by meter, and each override and grant of the workspace itself."""

    items: list[dict[str, Any]]
    own: list[dict[str, Any]]
    next: str | None


class NotificationAnswer(msgspec.Struct):
    """A notification of a person."""

    notification_id: str
    topic: str
    title: str
    unread: bool
    created_at: str
    text: str = ""
    link: str | None = None
    workspace_id: str | None = None


class MemberAnswer(msgspec.Struct):
    """A member of a workspace and the role."""

    workspace_id: str
    user_id: str
    role: str
    joined_at: str
    sessions_after: str = ""


class InvitationAnswer(msgspec.Struct):
    """An invitation, without its token."""

    id: str
    workspace_id: str
    email: str
    role: str
    status: str
    invited_by: str
    created_at: str
    valid_until: str
    user_id: str | None = None


class SessionAnswer(msgspec.Struct):
    """A session; its id opens nothing."""

    id: str
    workspace_id: str
    user_id: str
    created_at: str
    expires_at: datetime


class PolicyAnswer(msgspec.Struct):
    """A version of a policy that is in force."""

    policy: str
    number: int
    url: str
    material: bool
    effective_at: str


class HookAnswer(msgspec.Struct):
    """An endpoint without its secret. `types` empty is all; `off` says why nothing is sent, null that it is on."""

    id: str
    workspace_id: str
    url: str
    types: list[str]
    off: str | None
    failing_since: str | None
    created_at: str
    secret_id: str
    rotating_until: str | None


class KeyAnswer(msgspec.Struct):
    """Who asks: a key or a member; `workspace_id` is null for a service key."""

    actor: str
    workspace_id: str | None
