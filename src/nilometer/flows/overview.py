"""Overview: what operators ask. Reads only; scans where a whole table is asked for, so no flow depends on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain import keys
from nilometer.domain.billing import customer_name
from nilometer.domain.counter import used
from nilometer.domain.meter import Meter, meter_of
from nilometer.domain.period import period_at
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.register_item import object_of
from nilometer.domain.times import epoch, rfc3339
from nilometer.domain.writes import Item, Table
from nilometer.flows.billing_list import billing_of, subscription_of

SOFT = Decimal("0.8")
"""From this part of a limit on, usage is worth a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterUsage:
    """One meter of one workspace in one billing period. `limit` is None where nothing limits it."""

    meter: str
    unit: str
    used: Decimal
    count: int
    limit: Decimal | None
    period_start: str
    period_end: str

    @property
    def state(self) -> str:
        """`unlimited`, `ok`, `warning` or `exceeded`."""
        if self.limit is None:
            return "unlimited"
        if self.used > self.limit:
            return "exceeded"
        return "warning" if self.used >= SOFT * self.limit else "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceUsage:
    """The current period of a workspace, and what waits until the workspace is known."""

    workspace: str
    known: bool
    meters: tuple[MeterUsage, ...]
    waiting: int


def usage_of(store: Store, workspace_id: str, *, now: datetime) -> WorkspaceUsage:
    """Every meter that was used in the current period or has a limit, in the order of their names."""
    items = list(store.query(Table.RECORDS, keys.workspace(workspace_id).pk, consistent=True))
    billing = next((item for item in items if item["kind"] == "billing"), None)
    counters = [item for item in items if item["kind"] == "counter" and item["scope"] == "period"]
    meters = {item["meter"]: meter_of(item) for item in store.scan(Table.RECORDS, kind="meter")}
    return WorkspaceUsage(
        workspace=workspace_id,
        known=any(item["kind"] in {"workspace", "billing"} for item in items),
        meters=tuple(_meters(meters, _current(counters, billing, now), billing, now)),
        waiting=_waiting(store, workspace_id, now),
    )


def _current(counters: Iterable[Item], billing: Item | None, now: datetime) -> list[Item]:
    """Of the period that holds now. Its counters name it by its start: an end may move until it has come."""
    start = rfc3339(period_at(billing, now).start)
    return [item for item in counters if item["period_start"] == start]


def _meters(
    meters: Mapping[str, Meter], counters: Iterable[Item], billing: Item | None, now: datetime
) -> Iterator[MeterUsage]:
    limits = dict((billing or {}).get("limits") or {})
    shards = {slug: list(group) for slug, group in groupby(sorted(counters, key=_meter_name), key=_meter_name)}
    period = period_at(billing, now)
    for slug in sorted(meters.keys() & (shards.keys() | limits.keys())):
        yield MeterUsage(
            meter=slug,
            unit=meters[slug].unit,
            used=used(meters[slug].aggregation, shards.get(slug, ())),
            count=sum(item["count"] for item in shards.get(slug, ())),
            limit=None if limits.get(slug) is None else Decimal(limits[slug]),
            period_start=rfc3339(period.start),
            period_end=rfc3339(period.end),
        )


def _meter_name(item: Item) -> str:
    return str(item["meter"])


def _waiting(store: Store, workspace_id: str, now: datetime) -> int:
    """TTL deletes late: what has expired does not wait any more."""
    waiting = store.query(Table.EVENTS, keys.waiting(workspace_id, "", "").pk, consistent=True)
    return sum(1 for item in waiting if item["expires_at"] > epoch(now))


def billing(store: Store) -> Iterator[dict[str, Any]]:
    """Every workspace, then every customer that no workspace is linked to, with `workspace` null. One scan.

    Times are Stripe's epoch seconds. `subscriptions` are all that are known of its customers, ended ones too:
    the record itself keeps only the newest of these.
    """
    records = [item for item in store.scan(Table.RECORDS) if item["kind"] in {"workspace", "billing", "register"}]
    subscriptions = _subscriptions(records)
    linked = {item["workspace_id"]: item for item in records if item["kind"] == "billing" and item["workspace_id"]}
    known = {item["workspace_id"]: item for item in records if item["kind"] == "workspace"}
    for workspace_id in sorted(linked.keys() | known.keys()):
        yield _billing_row(workspace_id, linked.get(workspace_id), known.get(workspace_id), subscriptions)
    unlinked = [item for item in records if item["kind"] == "billing" and not item["workspace_id"]]
    for item in sorted(unlinked, key=lambda item: str(item["pk"])):
        yield _billing_row(None, item, None, subscriptions)


def _billing_row(
    workspace_id: str | None,
    record: Item | None,
    workspace: Item | None,
    subscriptions: Mapping[str, list[dict[str, Any]]],
) -> dict[str, Any]:
    told = billing_of(record) if record else _NO_BILLING
    names = record["customers"] if record else ()
    return {
        **told,
        "workspace": workspace_id,
        "name": workspace["name"] if workspace else None,
        "customer": told["customers"][0] if told["customers"] else None,
        "period": _period(told),
        "cancellation": _cancellation(told),
        "subscriptions": [found for name in names for found in subscriptions.get(name, ())],
    }


def _period(record: Mapping[str, Any]) -> dict[str, int] | None:
    start, end = record.get("current_period_start"), record.get("current_period_end")
    return {"start": start, "end": end} if start is not None and end is not None else None


def _cancellation(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is scheduled or has happened; `None` when nothing of it is."""
    told = {name: record.get(name) for name in ("cancel_at_period_end", "cancel_at", "canceled_at", "ended_at")}
    return told if any(told.values()) else None


def _subscriptions(records: Iterable[Item]) -> dict[str, list[dict[str, Any]]]:
    """By customer, as billing records name it: `account/mode/customer`."""
    found: dict[str, list[dict[str, Any]]] = {}
    registers = (item for item in records if item["kind"] == "register" and item["object_type"] == "subscription")
    for state in map(object_of, registers):
        scope = Scope(account=state["account"], livemode=state["livemode"])
        customer = str(state["customer"])
        told = subscription_of(str(state["id"]), customer, state)
        found.setdefault(customer_name(scope, customer), []).append(told)
    return found


_NO_BILLING: Mapping[str, Any] = {
    "plan": None,
    "status": "none",
    "access": "none",
    "limits": {},
    "seats": None,
    "subscription": None,
    "customers": [],
}
