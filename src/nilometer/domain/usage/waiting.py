"""Usage that came too early: its workspace or its meter is not known yet.

The bus keeps no order, so it may come together with what it needs. It waits, counted by `usage show`, for a bounded
time; then it is a reject.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Absent, Check, Item, Key, Put, Table, new_item
from nilometer.domain.usage.event import KEPT, UsageEvent
from nilometer.domain.usage.void import VoidEvent
from nilometer.errors import Rejected

WORKSPACE_WAITS = timedelta(days=35)  # less than KEPT: what waits cannot outlive the fact of a copy that did not
METER_WAITS = timedelta(days=1)
"""A meter is created before its first use; a longer wait would hide a misspelt name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What an event waits for, and for how long after its first arrival."""

    workspace_id: str | None = None
    meter: str | None = None

    @property
    def partition(self) -> str:
        """Where its events wait."""
        return keys.waiting_for_meter(self.meter) if self.meter else keys.waiting_for_workspace(self.workspace_id or "")

    @property
    def records(self) -> tuple[Key, ...]:
        """It is missing as long as none of these exists."""
        if self.meter:
            return (keys.meter(self.meter),)
        return keys.workspace(self.workspace_id or ""), keys.billing(self.workspace_id or "")

    @property
    def checks(self) -> list[Check]:
        """That it is still missing, for the transaction in which an event begins to wait."""
        return [Check(table=Table.RECORDS, key=key, expected=Absent()) for key in self.records]

    @property
    def too_late(self) -> Rejected:
        """What becomes of an event whose time to wait is over."""
        if self.meter:
            told = f"no meter {self.meter!r} for a day; create it: nilometer meter create {self.meter} ..., and resend"
            return Rejected("unknown_meter", told)
        told = f"its workspace was not known for {WORKSPACE_WAITS.days} days; record it anew"
        return Rejected("unknown_workspace", told)

    def is_over(self, received_at: datetime, now: datetime) -> bool:
        """Whether an event that first came at `received_at` has waited long enough."""
        return now > received_at + self.patience

    @property
    def patience(self) -> timedelta:
        """How long an event may wait for it."""
        return METER_WAITS if self.meter else WORKSPACE_WAITS


def waiting(event: UsageEvent | VoidEvent, missing: Missing, *, payload: str, received_at: datetime) -> Put:
    """The event as it waits, with its first arrival."""
    item = new_item(
        keys.waiting(missing.partition, event.source, event.id),
        "waiting_usage",
        payload=payload,
        payload_hash=event.payload_hash,
        workspace_id=event.workspace_id,
        **({"meter": missing.meter} if missing.meter else {}),
        received_at=rfc3339(received_at),
        expires_at=epoch(received_at + KEPT),
    )
    return Put(table=Table.EVENTS, item=item, expected=Absent())


def waited(missing: Missing, *, received_at: datetime) -> Put:
    """Names a partition in which something began to wait on this day: the same each time."""
    key = keys.waited(received_at, missing.partition)
    named = {"meter": missing.meter} if missing.meter else {"workspace_id": missing.workspace_id}
    item = new_item(key, "waiting_day", **named, expires_at=epoch(received_at + KEPT))
    return Put(table=Table.EVENTS, item=item)


def missing_of(item: Item) -> Missing:
    """What a stored event waits for."""
    if "meter" in item:
        return Missing(meter=item["meter"])
    return Missing(workspace_id=item["workspace_id"])


def is_overdue(item: Item, now: datetime) -> bool:
    """Whether a stored event has waited long enough."""
    return missing_of(item).is_over(parse_rfc3339(item["received_at"]), now)
