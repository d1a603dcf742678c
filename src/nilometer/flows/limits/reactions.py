"""What changes of records lead to, past the lake and the bus: the second reader of the records' stream.

    counter                 ──▶ alerts of its limits; into the outbox to Stripe's meters
    billing record          ──▶ alerts; all counters into the outbox when another customer pays;
                                facts to be moved when a period begins at another time
    own limits              ──▶ alerts

Each asks what is true now rather than what the change says, so a copy or a late one does no harm. A change that fails
is delivered again with all after it in its shard. One that nobody can read is passed over, once a bad version of ours
had its time to be taken back: the lake and its rejects have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from nilometer.aws.items import unmarshal
from nilometer.domain.events.outcome import Outcome, Result
from nilometer.domain.limits import own as own_limits
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Item
from nilometer.domain.usage.rebucket import moved_since
from nilometer.errors import Rejected
from nilometer.flows.inbox.parcel import safe_text
from nilometer.flows.inbox.records import StreamRecord, blamed, record_id
from nilometer.flows.limits import thresholds as limits
from nilometer.flows.usage import metering, rebucket
from nilometer.flows.usage.known import Known

_BILLED = ("customers", "subscription", "periods", "renews")
_DECIDES = (*_BILLED, "limit_rules")
"""Of a billing record: who pays, in which periods, and what is limited."""

_AT_ONCE = timedelta(minutes=1)  # less than a rebuild leaves to settle (`flows.recovery.rebuild`)

_Fields = dict[str, str | int]
_Answer = tuple[Outcome | Exception, _Fields]
"""An error: what it failed by."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is checked: one counter of a workspace, or without a meter all that its limits and periods decide."""

    workspace_id: str
    meter: str | None = None
    start: str | None = None
    other_payer: bool = False
    moved_since: datetime | None = None
    billing_version: int = 0
    begins: bool = False
    """The billing record is new, and not one that a rebuild put back."""
    cause: str | None = field(default=None, compare=False)
    """Of the newest of the changes that are looked at together."""


def react(records: Sequence[StreamRecord], *, known: Known, now: datetime) -> list[Result]:
    """One result a stream record of `records`, in order; changes of one counter are looked at once a batch.

    All workspaces are read together, after the changes: what comes later has a record of its own.
    """
    subjects = [_opened(record, now) for record in records]
    concerned = {one: one for one in subjects if isinstance(one, _Subject)}
    fresh = _read_together(known, {one.workspace_id for one in concerned})
    results = {one: _try(newest, known, now, fresh) for one, newest in concerned.items()}
    return [
        _result(record, results[one] if isinstance(one, _Subject) else one, now)
        for record, one in zip(records, subjects, strict=True)
    ]


def _read_together(known: Known, workspace_ids: Set[str]) -> Set[str]:
    """Those that are now known as they are stored. A record that cannot be read fails its own workspace alone, so
    after an error each is read by itself."""
    try:
        return known.tenants(workspace_ids, fresh=True).keys()
    except Exception:  # noqa: BLE001  # who is to blame shows when each is read
        return frozenset()


def _opened(record: StreamRecord, now: datetime) -> _Subject | _Answer:
    """What to look at, or what becomes of a record that concerns nobody or cannot be read."""
    try:
        subject = _subject(record, now)
        hash(subject)
        subject = subject and replace(subject, cause=_cause(record))
    except Exception as error:  # noqa: BLE001  # a record that cannot be read must not block its shard for ever
        return error, {}
    return subject or (Outcome.IGNORED, {})


def _subject(record: StreamRecord, now: datetime) -> _Subject | None:
    image = record["dynamodb"].get("NewImage")
    kind = image["kind"]["S"] if image and "kind" in image else None
    if kind == "counter" and image["scope"]["S"] == "period":
        item = _part(image, "workspace_id", "meter", "period_start")
        return _Subject(item["workspace_id"], item["meter"], item["period_start"])
    # A customer without a workspace has a billing record of its own, whose workspace is null.
    workspace_id = image["workspace_id"].get("S") if image and kind in {"billing", own_limits.KIND} else None
    if workspace_id and kind == "billing":
        return _billed(workspace_id, record["dynamodb"], now)
    return _Subject(workspace_id) if workspace_id else None


def _billed(workspace_id: str, change: Mapping[str, Any], now: datetime) -> _Subject | None:
    """None for a change of what nobody is limited, counted or billed by, as most are: a look asks twice a limit."""
    before, after = change.get("OldImage"), change["NewImage"]
    if before and all(before.get(name) == after.get(name) for name in _DECIDES):
        return None
    names = (*_BILLED, "version")
    old, new = _part(before, *names) if before else None, _part(after, *names)
    other = any((old or {}).get(name) != new.get(name) for name in ("customers", "subscription"))
    since, version = moved_since(old, new, now=now), int(new["version"])
    begins = not before and version == 1 and _is_made_now(change)
    return _Subject(workspace_id, other_payer=other, moved_since=since, billing_version=version, begins=begins)


def _is_made_now(change: Mapping[str, Any]) -> bool:
    """Whether the item was decided when the stream says that it was written: a rebuild puts back what is older."""
    try:
        made = parse_rfc3339(change["NewImage"]["updated_at"]["S"])
        written = datetime.fromtimestamp(float(change["ApproximateCreationDateTime"]), UTC)
    except (Rejected, KeyError, TypeError, ValueError, OverflowError, OSError):
        return False
    return abs(written - made) < _AT_ONCE


def _part(image: Mapping[str, Any], *names: str) -> Item:
    return unmarshal({name: image[name] for name in names if name in image})


def _try(subject: _Subject, known: Known, now: datetime, fresh: Set[str]) -> _Answer:
    fields: _Fields = {"workspace_id": subject.workspace_id}
    try:
        alerts = _react(subject, known, now, reads=subject.workspace_id not in fresh)
    except Exception as error:  # noqa: BLE001  # nor one of a workspace whose records cannot be read
        return error, fields
    return (Outcome.ACCEPTED, {**fields, "alerts": alerts}) if alerts else (Outcome.IGNORED, fields)


def _react(subject: _Subject, known: Known, now: datetime, *, reads: bool) -> int:
    """How many alerts are new. Making them `reads` the workspace afresh, unless the batch has; the others need not."""
    place = (subject.workspace_id, subject.meter, subject.start)
    alerts = limits.tell(known, *place, now=now, cause=subject.cause, fresh=reads)
    if subject.begins and _is_unknown_before(known, subject.workspace_id):
        return alerts
    if subject.meter and subject.start:
        metering.touch(known, subject.workspace_id, subject.meter, subject.start, now=now)
    if subject.other_payer:
        metering.touch_all(known, subject.workspace_id, now=now)
    if subject.moved_since:
        version = subject.billing_version
        rebucket.mark(known.store, subject.workspace_id, since=subject.moved_since, billing_version=version, now=now)
    return alerts


def _is_unknown_before(known: Known, workspace_id: str) -> bool:
    """Whether nothing can have been counted before its billing record: usage waits until that or the workspace's own
    record is there, and neither is ever removed."""
    tenant = known.tenants([workspace_id]).get(workspace_id)
    return tenant is not None and not tenant.recorded


def _result(record: StreamRecord, answer: _Answer, now: datetime) -> Result:
    outcome, fields = answer
    if isinstance(outcome, Exception):
        fields = {**fields, "reason": safe_text(outcome)}
        outcome = blamed(record, outcome, now=now)
    if cause := _cause(record):
        fields = {**fields, "event_id": cause}
    return Result(message_id=record_id(record), outcome=outcome, fields=fields)


def _cause(record: StreamRecord) -> str | None:
    """The id of the event that wrote it, as far as it can be read."""
    try:
        cause = _part(record["dynamodb"].get("NewImage", {}), "cause").get("cause")
    except Exception:  # noqa: BLE001  # it is for the log alone
        return None
    return cause if isinstance(cause, str) else None
