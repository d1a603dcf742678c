"""What changes of records lead to, past the lake and the bus: the second reader of the records' stream.

    counter                 ──▶ alerts of its limits; into the outbox to Stripe's meters
    billing record          ──▶ alerts; all counters into the outbox when another customer pays;
                                facts to be moved when a period begins at another time
    own limits              ──▶ alerts

Each asks what is true now rather than what the change says, so a copy or a late one does no harm. A change that fails
is delivered again with all after it in its shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nilometer.aws.items import unmarshal
from nilometer.domain.events.outcome import Outcome, Result
from nilometer.domain.limits import own as own_limits
from nilometer.domain.store.writes import Item
from nilometer.domain.usage.rebucket import moved_since
from nilometer.errors import Unavailable
from nilometer.flows.limits import thresholds as limits
from nilometer.flows.usage import metering, rebucket
from nilometer.flows.usage.known import Known

_Fields = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is checked: one counter of a workspace, or without a meter all that its limits and periods decide."""

    workspace_id: str
    meter: str | None = None
    start: str | None = None
    other_payer: bool = False
    moved_since: datetime | None = None
    billing_version: int = 0


def react(records: Sequence[Mapping[str, Any]], *, known: Known, now: datetime) -> list[Result]:
    """One result a stream record of `records`, in order; changes of one counter are looked at once a batch."""
    subjects = [_subject(record, now) for record in records]
    results = {one: _try(one, known, now) for one in dict.fromkeys(subjects) if one}
    return [_result(record, results.get(one) if one else None) for record, one in zip(records, subjects, strict=True)]


def _subject(record: Mapping[str, Any], now: datetime) -> _Subject | None:
    image = record["dynamodb"].get("NewImage")
    kind = image["kind"]["S"] if image and "kind" in image else None
    if kind == "counter" and image["scope"]["S"] == "period":
        item = _part(image, "workspace_id", "meter", "period_start")
        return _Subject(item["workspace_id"], item["meter"], item["period_start"])
    # A customer without a workspace has a billing record of its own, whose workspace is null.
    workspace_id = image["workspace_id"].get("S") if image and kind in {"billing", own_limits.KIND} else None
    if workspace_id and kind == "billing":
        return _billed(workspace_id, record["dynamodb"].get("OldImage"), image, now)
    return _Subject(workspace_id) if workspace_id else None


def _billed(workspace_id: str, before: Mapping[str, Any] | None, after: Mapping[str, Any], now: datetime) -> _Subject:
    names = ("customers", "subscription", "periods", "renews", "version")
    old, new = _part(before, *names) if before else None, _part(after, *names)
    other = any((old or {}).get(name) != new.get(name) for name in ("customers", "subscription"))
    since = moved_since(old, new, now=now)
    return _Subject(workspace_id, other_payer=other, moved_since=since, billing_version=int(new["version"]))


def _part(image: Mapping[str, Any], *names: str) -> Item:
    return unmarshal({name: image[name] for name in names if name in image})


def _try(subject: _Subject, known: Known, now: datetime) -> tuple[Outcome, _Fields]:
    fields: _Fields = {"workspace_id": subject.workspace_id}
    try:
        alerts = _react(subject, known, now)
    except Unavailable as error:
        return Outcome.FAILED, {**fields, "error": str(error)}
    return (Outcome.ACCEPTED, {**fields, "alerts": alerts}) if alerts else (Outcome.IGNORED, fields)


def _react(subject: _Subject, known: Known, now: datetime) -> int:
    """How many alerts are new. Telling them reads the workspace afresh, which the others need not do again."""
    alerts = limits.tell(known, subject.workspace_id, subject.meter, subject.start, now=now)
    if subject.meter and subject.start:
        metering.touch(known, subject.workspace_id, subject.meter, subject.start, now=now)
    if subject.other_payer:
        metering.touch_all(known, subject.workspace_id, now=now)
    if subject.moved_since:
        version = subject.billing_version
        rebucket.mark(known.store, subject.workspace_id, since=subject.moved_since, billing_version=version, now=now)
    return alerts


def _result(record: Mapping[str, Any], found: tuple[Outcome, _Fields] | None) -> Result:
    outcome, fields = found or (Outcome.IGNORED, {})
    cause = _part(record["dynamodb"].get("NewImage", {}), "cause").get("cause")
    fields = {**fields, "event_id": cause} if cause else fields
    return Result(message_id=record["dynamodb"]["SequenceNumber"], outcome=outcome, fields=fields)
