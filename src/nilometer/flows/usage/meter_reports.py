"""Stripe's reports of meter errors: each asked for at Stripe, and its refused deltas brought back to the outbox.

    thin event ──▶ its fact and a request, together ──▶ each minute: Stripe's API says which ──▶ refused, in the outbox

The webhook only says that there is a report; what it holds is Stripe's own answer, so whoever has a signing secret
can have nothing sent a second time. What if the process dies between? The request stays until all deltas of the
report are marked, and one that is marked already is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Delete, Item, Key, Table, Version
from nilometer.domain.stripe.event import THIN, Scope
from nilometer.domain.stripe.registers.resolve import REFETCH_INDEX
from nilometer.domain.usage.meter_event import metered_of
from nilometer.domain.usage.meter_report import errors_of, refusal
from nilometer.errors import Cancelled, Rejected, Unavailable
from nilometer.flows.inbox.races import retrying


class ThinEvents(Protocol):
    """Stripe's events with their `data`."""

    def thin_event(self, event_id: str) -> dict[str, Any] | None:
        """None when Stripe keeps it no longer; `Unavailable` when it does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReport:
    """One report. `errors` is Stripe's own count; `refused` are the deltas that it named, by identifier with the code;
    `strange` how many it named that this stack did not send. `outcome` is `read`, `gone`, or an error's name."""

    event_id: str
    outcome: str
    errors: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)
    strange: int = 0

    @property
    def unnamed(self) -> int:
        """Errors that Stripe counted and did not name."""
        return max(self.errors - len(self.refused) - self.strange, 0)


def read_reports(
    store: Store,
    stripe: ThinEvents,
    *,
    scope: Scope,
    now: datetime,
    out_of_time: Callable[[], bool] = lambda: False,
) -> Iterator[MeterReport]:
    """Reads what is due of the key's own account and mode; what fails stays due."""
    for item in store.query_index(REFETCH_INDEX, until=rfc3339(now)):
        if out_of_time():
            return
        if item["object_type"] == THIN and (item["account"], item["livemode"]) == (scope.account, scope.livemode):
            yield _try_read(store, stripe, item, now)


def _try_read(store: Store, stripe: ThinEvents, item: Item, now: datetime) -> MeterReport:
    event_id = str(item["object_id"])
    try:
        found = stripe.thin_event(event_id)
        report = _read(store, event_id, found, now) if found else MeterReport(event_id=event_id, outcome="gone")
        _done(store, item)
    except Rejected as error:
        return MeterReport(event_id=event_id, outcome=error.reason)
    except Unavailable as error:
        return MeterReport(event_id=event_id, outcome=type(error).__name__)
    return report


def _read(store: Store, event_id: str, report: Mapping[str, Any], now: datetime) -> MeterReport:
    errors = errors_of(report)
    ours = {
        id_: code for id_, code in errors.codes.items() if retrying(partial(_refuse, store, event_id, id_, code, now))
    }
    strange = len(errors.codes) - len(ours)
    return MeterReport(event_id=event_id, outcome="read", errors=errors.count, refused=ours, strange=strange)


def _refuse(store: Store, event_id: str, identifier: str, code: str, now: datetime) -> bool:
    """False when this stack did not send it. One that a report refused already is left as it is."""
    delta = store.get(Table.EVENTS, keys.meter_event(identifier), consistent=True)
    if delta is None:
        return False
    of = metered_of(delta)
    stored = store.get(Table.RECORDS, of.key, consistent=True)
    if stored and delta["refused_in"] is None:
        store.commit(refusal(delta, stored, of, identifier, code=code, event_id=event_id, now=now))
    return True


def _done(store: Store, item: Item) -> None:
    key = Key(item["pk"], item["sk"])
    try:
        store.commit([Delete(table=Table.RECORDS, key=key, expected=Version(int(item["version"])))])
    except Cancelled:  # another run was faster, or the report came again
        return
