"""The rules of single kinds of records: which change of one the domain allows.

Each rule is the domain's own: its states and what follows them, its counters, its registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from nilometer.domain.lake.change import ItemAction
from nilometer.domain.lake.redaction import REDACTED
from nilometer.domain.limits.reservation import RESERVATION_STEPS
from nilometer.domain.people.invitation import INVITATION_STEPS, InvitationStatus
from nilometer.domain.people.membership import MEMBERSHIP_STEPS, has_ended
from nilometer.domain.store.writes import Item
from nilometer.domain.stripe.registers.register import merge, unpacked
from nilometer.domain.usage.rebucket import MOVED_BY
from nilometer.domain.usage.recount import RECOUNT

Broken = tuple[str, str]
"""The rule, and what is wrong in one sentence."""

IsVoid = Callable[[str], bool]

WRITTEN_ONCE = frozenset({"security", "alert"})
WRITTEN_AGAIN = frozenset({"use", "slug", "refold"})
"""Kinds that are put again as they are, or carry another record's version: theirs need not rise by one."""

REMOVABLE = frozenset(
    {"slug", "rebucket", "refold", "refetch", "waiting_risk", "billing", "billing_part"}
    | {"membership", "invitation", "invited", "lockout", "onboarding", "flag_override"}
    | {"notification", "unread", "preference"}
)
"""What flows delete; the second line goes when a deleted workspace is purged, the third when a person is erased."""

FIXED: Mapping[str, tuple[str, ...]] = {
    "counter": ("workspace_id", "meter", "scope", "period_start", "shard"),
    "membership": ("workspace_id", "user_id"),
    "invitation": ("workspace_id", "invitation_id", "email", "role", "created_at"),
    "token": ("workspace_id", "user_id", "purpose", "created_at", "expires_at"),
    "reservation": ("workspace_id", "reservation_id", "meter", "quantity", "period_start", "ends_at", "leased"),
    "allowance": ("workspace_id", "meter", "period_start"),
    "metered": ("workspace_id", "meter", "period_start"),
    "register": ("account", "livemode"),
    "workspace": ("workspace_id",),
    "slug": ("slug",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditStep:
    """One row of the audit. Images are as `domain.lake.exact.read` gives them."""

    pk: str
    sk: str
    kind: str
    action: ItemAction
    old: Item | None
    new: Item | None
    cause: str | None
    changed_fields: tuple[str, ...]
    occurred_at: datetime


def _status(steps: Mapping[str, frozenset[str]], step: AuditStep) -> Iterator[Broken]:
    """By a machine of states; "" is where a record begins."""
    before, after = str((step.old or {}).get("status", "")), str((step.new or {}).get("status", ""))
    if step.new is not None and after not in steps.get(before, frozenset()):
        yield "state", f"a {step.kind} does not become {after} from {before or 'nothing'}"


def _membership(step: AuditStep, _is_void: IsVoid) -> Iterator[Broken]:
    yield from _status(MEMBERSHIP_STEPS, step)
    if has_ended(step.old) and has_ended(step.new) and "role" in step.changed_fields:
        yield "state", "a membership that has ended keeps its role"
    for name in ("stamp", "sessions_after"):
        yield from _never_back(step, name)


def _invitation(step: AuditStep, _is_void: IsVoid) -> Iterator[Broken]:
    yield from _status(INVITATION_STEPS, step)
    if step.new is None:
        return
    accepted = step.new["status"] == InvitationStatus.ACCEPTED
    if accepted is (step.new.get("user_id") is None):
        yield "state", "an invitation names a user when one has accepted it, and only then"
    sent_again = step.old is not None and step.new["status"] == InvitationStatus.PENDING
    if sent_again and "token_hash" not in step.changed_fields:
        yield "token", "it was sent again and its old token still works"


def _token(step: AuditStep, _is_void: IsVoid) -> Iterator[Broken]:
    if step.old is None or step.new is None:
        return
    if step.old["used_at"] is not None or step.new["used_at"] is None:
        yield "state", "a token is used once and is never unused again"


def _reservation(step: AuditStep, _is_void: IsVoid) -> Iterator[Broken]:
    yield from _status(RESERVATION_STEPS, step)
    if step.old is None and step.new is not None and str(step.new["ends_at"]) <= str(step.new.get("updated_at", "")):
        yield "state", "a reservation ended before it began"


def _allowance(step: AuditStep, _is_void: IsVoid) -> Iterator[Broken]:
    if step.new is not None and step.new["reserved"] < 0:
        yield "reserved", f"{step.new['reserved']} are reserved; no reservation ends twice"


def _counter(step: AuditStep, is_void: IsVoid) -> Iterator[Broken]:
    """Goes down only by a void, by a fact that moves to its period, or by a recount."""
    if step.new is None:
        return
    old, cause = step.old or {}, step.cause or ""
    recounted = cause == RECOUNT
    taken_back = recounted or cause.startswith(MOVED_BY) or is_void(cause)
    for name in ("total", "count"):
        if _number(step.new, name) < _number(old, name) and not taken_back:
            yield "counter", f"{name} went down from {old.get(name, 0)} to {step.new[name]} and nothing was taken back"
    for name in ("unique", "max"):
        if _number(step.new, name) < _number(old, name) and not recounted:
            yield "counter", f"{name} went down from {old.get(name)} to {step.new.get(name)} without a recount"
    if not recounted:
        yield from _never_back(step, "latest_at")


def _metered(step: AuditStep, _is_void: IsVoid) -> Iterator[Broken]:
    """A delta is fixed before it is sent, and is sent under one identifier. What was sent changes without one only by
    a fact that moves to another period, while nothing is pending where it was."""
    if step.new is None:
        return
    old = step.old or {}
    pending, now = old.get("pending") or {}, step.new.get("pending") or {}
    told = _number(step.new, "sent") - _number(old, "sent")
    sent = _amount(pending) if pending and not now else Decimal(0)
    decided = _decided(old, step.new)
    if (step.cause or "").startswith(MOVED_BY):
        if told < 0 and pending:
            yield "outbox", "usage was moved away while a delta was pending"
    elif sent is not None and decided is not None and told not in {sent, sent - decided}:
        yield "outbox", f"what Stripe has changed by {told}, and that is not the delta that was pending or refused"
    readable = REDACTED not in {str(old.get("number")), str(step.new.get("number"))}  # the audit hides numbers
    if readable and _number(step.new, "number") - _number(old, "number") != (1 if now and not pending else 0):
        yield "outbox", "the number of a delta rises by one when it becomes pending, and only then"
    if pending and now and (pending["identifier"] != now["identifier"] or _differ(_amount(pending), _amount(now))):
        yield "outbox", "a pending delta got another identifier or another value"


def _decided(old: Item, new: Item) -> Decimal | None:
    """The value of the delta that Stripe had refused and a person decided on; several at once would be nobody's."""
    left = new.get("refused") or {}
    gone = [_amount(one) for identifier, one in (old.get("refused") or {}).items() if identifier not in left]
    return gone[0] if len(gone) == 1 else Decimal(0)


def _differ(before: Decimal | None, after: Decimal | None) -> bool:
    return None not in {before, after} and before != after


def _amount(delta: Mapping[str, Any]) -> Decimal | None:
    """Of a delta; None in rows from before its value was readable in the lake."""
    return None if delta["value"] == REDACTED else Decimal(delta["value"])


def _workspace(step: AuditStep, _is_void: IsVoid) -> Iterator[Broken]:
    if step.old is None or step.new is None:
        return
    before, after = int(step.old.get("admins", 0)), int(step.new.get("admins", 0))
    if abs(after - before) > 1:
        yield "admins", f"{before} Admins became {after} in one step"
    if before > 0 and after < 1:
        yield "admins", "the last Admin left"


def _register(step: AuditStep, _is_void: IsVoid) -> Iterator[Broken]:
    """A register is a union: it holds what it held, but for what newer seconds push out and a dropped event."""
    if step.old is None or step.new is None:
        return
    before, after = _evidence(step.old), _evidence(step.new)
    if before is None or after is None or merge(before, after) == merge(after, after):
        return
    newest = max((one.second for one in before.elements), default=0)
    if not any(one.fetched and one.second >= newest for one in after.elements):
        yield "register", "it lost evidence that nothing newer replaces"


def _evidence(image: Item) -> Any:
    """None where redaction hides an element's key, or the image is older than this layout."""
    document = image.get("evidence")
    if not isinstance(document, Mapping) or any(REDACTED in row for row in document.get("e", ())):
        return None
    return unpacked(document)


def _never_back(step: AuditStep, name: str) -> Iterator[Broken]:
    """Text that sorts as what it says: a time, or a stamp that begins with one."""
    before, after = (step.old or {}).get(name), (step.new or {}).get(name)
    if step.new is not None and before is not None and str(after or "") < str(before):
        yield "order", f"{name} went back"


def _number(image: Item, name: str) -> Decimal:
    return Decimal(image.get(name) or 0)


RULES: Mapping[str, Callable[[AuditStep, IsVoid], Iterator[Broken]]] = {
    "allowance": _allowance,
    "counter": _counter,
    "invitation": _invitation,
    "membership": _membership,
    "metered": _metered,
    "register": _register,
    "reservation": _reservation,
    "token": _token,
    "workspace": _workspace,
}
