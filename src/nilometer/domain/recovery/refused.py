"""What was refused, in any flow, as one table: when, where, why, whose it is, and what to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from nilometer.domain.events.reject import KEPT, bounded
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Put, Table, new_item

IN_TABLE = ("billing", "usage", "operations", "notices", "datasets")
IN_BUCKET = ("lake", "changes")
FLOWS = (*IN_TABLE, *IN_BUCKET)
"""Every flow that refuses: the first keep it in the events table for 40 days, the others in the bucket for 90."""

MARK = "reject_mark"
_MARKED = timedelta(days=90)

_ADVICE: Mapping[str, str] = {
    "unknown_meter": "create the meter, then resend",
    "unknown_workspace": "create the workspace, then resend",
    "not_owner": "send it with the owner's source, or give the dataset to this one, then resend",
    "dataset_dropped": "take the dataset back (nilometer datasets restore), then resend; or dismiss it",
    "unknown_dataset": "declare the dataset, then resend",
    "unknown_column": "declare the column, then resend",
    "unknown_flag": "create the flag, then resend",
    "unknown_policy": "publish the policy, then resend",
    "unknown_notification": "dismiss it: the notification has expired or never was",
    "refused": "read its message; once the rule permits it, resend",
    "id_reuse": "ask its sender to give each fact an id of its own; then dismiss it",
    "too_old": "ask its sender to record it anew as a correction; then dismiss it",
    "too_far_in_future": "ask its sender to set its clock; then resend",
    "claim_broken": "the payload in the bucket is gone: ask its sender for it again",
    "unreadable": "report the fault; when its cure is deployed, resend",
}
_OTHERWISE = "send the message to its sender; a corrected version may keep its id; then dismiss this"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptReject:
    """One reject. `id` is the hash of its content; `claim` the object in the bucket that holds the payload."""

    flow: str
    id: str
    at: datetime
    reason: str
    message: str
    event_id: str | None
    source: str | None
    workspace_id: str | None
    payload: str | None
    claim: str | None = None
    settled: str | None = None
    """`resent` or `dismissed`, with the time."""

    @property
    def whose(self) -> str:
        """The workspace, else who sent it, and the id of the event."""
        return " ".join(filter(None, [self.workspace_id or self.source, self.event_id])) or "unknown"

    @property
    def advice(self) -> str:
        """What to try."""
        return _ADVICE.get(self.reason, _OTHERWISE)


def of_item(item: Item) -> KeptReject:
    """A reject of the events table."""
    return KeptReject(
        flow=item["flow"],
        id=item["sk"],
        at=parse_rfc3339(item["received_at"]),
        reason=item["reason"],
        message=item["message"],
        event_id=item.get("event_id"),
        source=item.get("source"),
        workspace_id=item.get("workspace_id"),
        payload=item.get("payload"),
        claim=item.get("claim"),
    )


def of_file(flow: str, name: str, kept: Mapping[str, str | None], *, at: datetime, payload: str) -> KeptReject:
    """A reject of the bucket."""
    return KeptReject(
        flow=flow,
        id=name,
        at=at,
        reason=kept.get("reason") or "unknown",
        message=kept.get("message") or "",
        event_id=kept.get("event_id"),
        source=kept.get("source"),
        workspace_id=kept.get("workspace_id"),
        payload=payload,
    )


def mark(refused: KeptReject, what: str, *, actor: str, now: datetime) -> Put:
    """That an operator resent or dismissed it. It outlives the reject, which stays as it is."""
    key = keys.reject_mark(refused.flow, refused.id)
    said = {"what": f"{what} {rfc3339(now)}", "actor": bounded(actor), "at": rfc3339(now)}
    return Put(table=Table.EVENTS, item=new_item(key, MARK, **said, expires_at=epoch(now + max(KEPT, _MARKED))))


def kept_at(written: datetime) -> datetime:
    """When an object of the bucket was kept at the latest: S3 says only in which second it was written."""
    return written.replace(microsecond=999_000)


def is_settled(mark: Item, at: datetime) -> bool:
    """Whether an operator made this mark after the reject was kept the last time."""
    return str(mark["at"]) >= rfc3339(at)
