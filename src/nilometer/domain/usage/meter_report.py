"""What Stripe says of meter events that it took and could not count: which deltas they were, and why.

    reported ──▶ refused ──▶ sent again, as a part of the next delta
                         └─▶ settled by a person who looked

Stripe checks meter events after it has answered, and sends a thin event for each window of time in which some could
not be counted. It names samples: of a great many errors some are only counted.
Source: https://docs.stripe.com/api/v2/core/event-types, `v1.billing.meter.error_report_triggered`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Put, Table, Version, new_item
from nilometer.domain.usage.meter_event import Metered, MeterEvent, amended

KIND = "meter_event"
KEPT = timedelta(days=40)
"""Longer than the 35 days for which Stripe takes usage of the past."""
NAMED = 1_000  # errors of one report that are read; Stripe names a few samples of each kind
_TEXT = 64  # of an identifier, which is ours and has 40 digits, and of a code


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterErrors:
    """`count` is Stripe's own, of all errors; `codes` is by identifier, of those that it named."""

    count: int
    codes: Mapping[str, str]


def errors_of(report: Mapping[str, Any]) -> MeterErrors:
    """Of the event as Stripe's API gives it. What cannot be read in it is left out."""
    reason = _object(_object(report.get("data")).get("reason"))
    count = reason.get("error_count")
    named = {identifier: code for _, (identifier, code) in zip(range(NAMED), _named(reason), strict=False)}
    return MeterErrors(count=count if type(count) is int and count > 0 else len(named), codes=named)


def reported(of: Metered, event: MeterEvent, *, now: datetime) -> Put:
    """Which counter a delta belongs to, by its identifier: stored when the delta is fixed, the same each time."""
    item = new_item(
        keys.meter_event(event.identifier),
        KIND,
        workspace_id=of.workspace_id,
        meter=of.meter,
        period_start=of.period_start,
        period_end=of.period_end,
        value=event.value,
        refused_in=None,
        expires_at=epoch(now + KEPT),
    )
    return Put(table=Table.EVENTS, item=item)


def refusal(
    delta: Item, stored: Item, of: Metered, identifier: str, *, code: str, event_id: str, now: datetime
) -> list[Put]:
    """Stripe could not count it: the delta has the name of the report, so that no other one refuses it again."""
    told = {"value": delta["value"], "code": code, "report": event_id, "at": rfc3339(now)}
    named = {**stored.get("refused", {}), identifier: told}
    version = int(delta["version"])
    known = {**delta, "refused_in": event_id, "version": version + 1}
    return [
        Put(table=Table.EVENTS, item=known, expected=Version(version)),
        amended(stored, of, now=now, refused=named),
    ]


def decided(stored: Item, of: Metered, identifier: str, *, is_at_stripe: bool, now: datetime) -> Put:
    """A person looked. What Stripe has not is no more counted as sent, so the next delta holds it; else it stays."""
    left = dict(stored["refused"])
    value = Decimal(left.pop(identifier)["value"])
    if is_at_stripe:
        return amended(stored, of, now=now, refused=left)
    return amended(stored, of, now=now, refused=left, sent=Decimal(stored["sent"]) - value, changed=True)


def _named(reason: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for kind in _list(reason.get("error_types")):
        code = _text(_object(kind).get("code")) or "unknown"
        for sample in _list(_object(kind).get("sample_errors")):
            if identifier := _text(_object(_object(sample).get("request")).get("identifier")):
                yield identifier, code


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    """An identifier or a code: letters, digits, `_` and `-`; nothing that a terminal or a key could misread."""
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT or not value.isascii():
        return None
    return value if value.replace("_", "").replace("-", "").isalnum() else None
