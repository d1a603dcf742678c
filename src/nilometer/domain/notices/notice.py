"""Notifications by the system itself: which changes of records cause one, and for whom.

| change                                    | topic                      | told to          | once per              |
|-------------------------------------------|----------------------------|------------------|-----------------------|
| a threshold alert is put                  | usage.threshold_reached    | Admins, Managers | alert                 |
| another payment of an open invoice failed | billing.payment_failed     | Admins           | invoice and attempt   |
| a customer's claim waits as a conflict    | billing.conflict           | Admins           | claim                 |
| a member has another role                 | member.role_changed        | the member       | version of the member |
| an invitation is accepted                 | member.invitation_accepted | who invited      | invitation            |

Changes are read as the bus carries them: redacted, so no notice can hold an address or a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nilometer.domain.acts.roles import Role
from nilometer.domain.store.copies import is_copy
from nilometer.domain.store.times import parse_rfc3339

Image = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordChange:
    """One change of a record that has a workspace. `old` is `None` for a new record."""

    kind: str
    workspace_id: str
    pk: str
    sk: str
    actor: str | None
    at: datetime
    old: Image | None
    new: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What to say, and to whom: one person, or the members with one of `roles`. Sent once per `cause`."""

    topic: str
    title: str
    text: str
    link: str
    cause: str
    roles: frozenset[Role] = frozenset()
    user_id: str | None = None


def announcement(change: RecordChange) -> Announcement | None:
    """`None` for most changes."""
    decide = _KINDS.get(change.kind)
    return decide(change) if decide else None


def record_change(row: Mapping[str, Any]) -> RecordChange | None:
    """From a row of the audit; `None` for a record without a workspace, or that was removed, or that a restore copied:
    people were told when it was made."""
    old, new = row["old_image"], row["new_image"]
    if not row["workspace_id"] or new is None or (old is None and is_copy(new, parse_rfc3339(row["occurred_at"]))):
        return None
    return RecordChange(
        kind=row["kind"],
        workspace_id=row["workspace_id"],
        pk=row["pk"],
        sk=row["sk"],
        actor=row["actor"],
        at=parse_rfc3339(row["occurred_at"]),
        old=old,
        new=new,
    )


def _threshold(change: RecordChange) -> Announcement | None:
    if change.old is not None:
        return None
    meter, threshold = change.new["meter"], str(change.new["threshold"])
    return Announcement(
        topic="usage.threshold_reached",
        title=f"{meter} has reached {threshold} % of its limit" if threshold.isdigit() else f"{meter} is at its limit",
        text="See usage and limits of this period.",
        link="/usage",
        cause=f"{change.pk} {change.sk}",
        roles=frozenset({Role.ADMIN, Role.MANAGER}),
    )


def _payment(change: RecordChange) -> Announcement | None:
    dunning: Image = change.new.get("dunning") or {}
    before: Image = (change.old or {}).get("dunning") or {}
    if not dunning or (dunning["invoice"], dunning["attempts"]) == (before.get("invoice"), before.get("attempts")):
        return None
    exhausted = dunning["stage"] == "exhausted"
    return Announcement(
        topic="billing.payment_failed",
        title="A payment failed",
        text="It is not tried again: please pay the open invoice." if exhausted else "It will be tried again.",
        link="/billing",
        cause=f"{change.pk} {dunning['invoice']} {dunning['attempts']}",
        roles=frozenset({Role.ADMIN}),
    )


def _billing(change: RecordChange) -> Announcement | None:
    """Of both the conflict, which is said once: a payment that fails is announced again with its next attempt."""
    return _conflict(change) or _payment(change)


def _conflict(change: RecordChange) -> Announcement | None:
    known = set(_claims(change.old or {}))
    claims = [one for one in _claims(change.new) if one not in known]
    if not claims:
        return None
    return Announcement(
        topic="billing.conflict",
        title="Another customer names this workspace",
        text="A buyer gave its id with a payment. It changes nothing here until an operator decides.",
        link="/billing",
        cause=f"{change.pk} {claims[0]}",
        roles=frozenset({Role.ADMIN}),
    )


def _claims(billing: Image) -> list[str]:
    """The objects that claim the workspace in vain."""
    conflicts = billing.get("conflicts")
    found = conflicts if isinstance(conflicts, list) else []
    return [str(one.get("object")) for one in found if isinstance(one, Mapping)]


def _role(change: RecordChange) -> Announcement | None:
    """Not of a new member, and not of what somebody did to himself."""
    old, new = change.old or {}, change.new
    both_active = old.get("status") == new.get("status") == "active"
    if not both_active or old["role"] == new["role"] or change.actor == new["user_id"]:
        return None
    return Announcement(
        topic="member.role_changed",
        title=f"Your role is now {new['role']}",
        text=f"It was {old['role']}.",
        link="/members",
        cause=f"{change.pk} {change.sk} {new['version']}",
        user_id=new["user_id"],
    )


def _accepted(change: RecordChange) -> Announcement | None:
    old, new = change.old or {}, change.new
    if new.get("status") != "accepted" or old.get("status") == "accepted":
        return None
    return Announcement(
        topic="member.invitation_accepted",
        title="Your invitation was accepted",
        text=f"The new member's role is {new['role']}.",
        link="/members",
        cause=f"{change.pk} {change.sk}",
        user_id=new["invited_by"],
    )


_KINDS: Mapping[str, Callable[[RecordChange], Announcement | None]] = {
    "alert": _threshold,
    "billing": _billing,
    "membership": _role,
    "invitation": _accepted,
}
KINDS = tuple(_KINDS)
"""Kinds of records whose changes the bus brings here (`NoticesRule` in template.yaml)."""
