"""Overview: what operators ask. Reads only; scans where a whole table is asked for, so no flow depends on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.group import view
from nilometer.domain.billing.record.inputs import customer_name
from nilometer.domain.limits import own as own_limits
from nilometer.domain.limits.limit import HARD, Limit, State, crossed_at, limit_of, state_of
from nilometer.domain.limits.plan import amount_of
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.registers.register import register_of
from nilometer.domain.usage.meter import Meter, meter_of
from nilometer.domain.usage.period import is_closed, period_at
from nilometer.domain.usage.total import late, used
from nilometer.domain.usage.waiting import METER_WAITS
from nilometer.flows.billing.reading import subscription_of, with_current
from nilometer.flows.usage.counters import counters_in


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterUsage:
    """One meter of one workspace in one billing period. `limit` is what is included, else the hard limit; None is no
    limit. `binding` is the lesser of the two, of which the percents are; `hard` is where it stops.

    `stale` when a level or a number of values was voided: it is what it was until it is counted again.

    `late_delta` of `used`, and `late_count` events, arrived after the period was closed; None where no delta exists.
    """

    meter: str
    unit: str
    used: Decimal
    count: int
    limit: Decimal | None
    hard: Decimal | None
    binding: Decimal | None
    state: State
    period_start: str
    period_end: str
    closed: bool
    late_delta: Decimal | None
    late_count: int
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceUsage:
    """One period of a workspace, what waits until the workspace is known, and what until a meter is, by meter."""

    workspace: str
    known: bool
    meters: tuple[MeterUsage, ...]
    waiting: int
    waiting_for_meters: Mapping[str, int] = field(default_factory=dict)


def usage_of(store: Store, workspace_id: str, *, now: datetime, at: datetime | None = None) -> WorkspaceUsage:
    """Every meter that was used in the period of `at` (now) or has a limit, in the order of their names."""
    period = _InPeriod(store, workspace_id, at or now, now)
    return WorkspaceUsage(
        workspace=workspace_id,
        known=period.known,
        meters=tuple(period.meters()),
        waiting=_waiting(store, workspace_id, now),
        waiting_for_meters=_waiting_for_meters(store, workspace_id, now),
    )


def used_by(store: Store, workspace_id: str, *, now: datetime) -> list[MeterUsage]:
    """Every meter of one workspace in the period of now, for a service: two reads of few items, and up to two small
    queries a meter."""
    return list(_InPeriod(store, workspace_id, now, now).meters())


class _InPeriod:
    """One workspace as it stands in the period that holds at one time. What it has of other periods is not read."""

    def __init__(self, store: Store, workspace_id: str, at: datetime, now: datetime) -> None:
        place, billed, own = keys.workspace(workspace_id), keys.billing(workspace_id), keys.limits(workspace_id)
        stored = store.batch_get(Table.RECORDS, [place, billed, own], consistent=True)
        record = stored.get(billed)
        self.known = record is not None or place in stored
        self._store, self._workspace_id = store, workspace_id
        self._rules = own_limits.rules((record or {}).get("limit_rules"), stored.get(own), now)
        self._now = now
        period = period_at(record, at)
        self._closed = is_closed(period, now)
        # A counter is named by its period's start: the end may move until it has come.
        self._start, self._end = rfc3339(period.start), rfc3339(period.end)
        shards = counters_in(store, workspace_id, self._start)
        self._shards = {slug: list(group) for slug, group in groupby(shards, key=_meter_name)}

    def meters(self) -> Iterator[MeterUsage]:
        limits = {slug: limit_of(self._rules, slug) for slug in self._shards.keys() | self._rules.keys()}
        alerts = {slug: self._alert(slug, limit) for slug, limit in limits.items() if limit and limit.grace}
        wanted = [*map(keys.meter, limits), *alerts.values()]
        stored = self._store.batch_get(Table.RECORDS, wanted, consistent=True)
        for slug in sorted(slug for slug in limits if keys.meter(slug) in stored):
            meter, shards, limit = meter_of(stored[keys.meter(slug)]), self._shards.get(slug, []), limits[slug]
            exceeded_at = crossed_at(stored.get(alerts[slug])) if slug in alerts else None
            yield self._meter(meter, shards, limit, exceeded_at)

    def _alert(self, slug: str, limit: Limit) -> Key:
        """Of the hard limit, which says when it was reached."""
        return keys.alert(self._workspace_id, slug, self._start, HARD, limit.version)

    def _meter(
        self, meter: Meter, shards: Sequence[Item], limit: Limit | None, exceeded_at: datetime | None
    ) -> MeterUsage:
        amount = used(meter.aggregation, shards)
        late_delta, late_count = late(meter.aggregation, shards)
        return MeterUsage(
            meter=meter.slug,
            unit=meter.unit,
            used=amount,
            count=sum(item["count"] for item in shards),
            limit=_shown(limit),
            hard=limit.hard if limit else None,
            binding=limit.binding if limit else None,
            state=state_of(limit, amount, exceeded_at=exceeded_at, now=self._now),
            period_start=self._start,
            period_end=self._end,
            closed=self._closed,
            late_delta=late_delta,
            late_count=late_count,
            stale=any(item.get("stale") for item in shards),
        )


def _meter_name(item: Item) -> str:
    return str(item["meter"])


def _shown(limit: Limit | None) -> Decimal | None:
    if limit is None:
        return None
    return limit.hard if limit.included is None else limit.included


def _waiting(store: Store, workspace_id: str, now: datetime) -> int:
    """TTL deletes late: what has expired does not wait any more."""
    waiting = store.query(Table.EVENTS, keys.waiting_for_workspace(workspace_id), consistent=True)
    return sum(1 for item in waiting if item["expires_at"] > epoch(now))


def _waiting_for_meters(store: Store, workspace_id: str, now: datetime) -> dict[str, int]:
    """By the meter that does not exist. Of the days on which what waits now may have begun to."""
    days = [now - timedelta(days=back) for back in range(METER_WAITS.days + 2)]
    marks = (mark for day in days for mark in store.query(Table.EVENTS, keys.waited(day, "").pk))
    slugs = sorted({mark["meter"] for mark in marks if "meter" in mark})
    waiting = {slug: list(store.query(Table.EVENTS, keys.waiting_for_meter(slug))) for slug in slugs}
    counts = {slug: sum(item["workspace_id"] == workspace_id for item in items) for slug, items in waiting.items()}
    return {slug: count for slug, count in counts.items() if count}


_LISTED = {"workspace", "billing", "register", own_limits.KIND}
_QUERIES = 16  # at a time: one after the other a thousand customers are half a minute away from AWS


def billing(store: Store, *, now: datetime) -> Iterator[dict[str, Any]]:
    """Every workspace, then every customer that no workspace is linked to, with `workspace` null.

    By the index of lists, and one query a customer for its subscriptions; else one scan.

    `limits` are those in effect `now`, the workspace's own laid over its plan's.

    Times are Stripe's epoch seconds. `subscriptions` are all that are known of its customers, ended ones too:
    the record itself keeps only the newest of these.
    """
    records = list(_found(store))
    subscriptions = _subscriptions(records, now)
    linked = {item["workspace_id"]: item for item in records if item["kind"] == "billing" and item["workspace_id"]}
    known = {item["workspace_id"]: item for item in records if item["kind"] == "workspace"}
    own = {item["workspace_id"]: item for item in records if item["kind"] == own_limits.KIND}
    for workspace_id in sorted(linked.keys() | known.keys()):
        record = linked.get(workspace_id)
        row = _billing_row(workspace_id, record, known.get(workspace_id), subscriptions)
        if workspace_id in own:
            rules = own_limits.rules((record or {}).get("limit_rules"), own[workspace_id], now)
            row["limits"] = {meter: amount_of(rules[meter]) for meter in sorted(rules)}
        yield row
    unlinked = [item for item in records if item["kind"] == "billing" and not item["workspace_id"]]
    for item in sorted(unlinked, key=lambda item: str(item["pk"])):
        yield _billing_row(None, item, None, subscriptions)


def _found(store: Store) -> Iterator[Item]:
    """All that the rows are made of."""
    if not store.has_lists():
        yield from (item for item in store.scan(Table.RECORDS) if item["kind"] in _LISTED)
        return
    records = list(store.every_listed("billing"))
    listed = [*store.every_listed("workspace"), *records]
    yield from listed
    workspaces = sorted({str(item["workspace_id"]) for item in listed if item["workspace_id"]})
    yield from store.batch_get(Table.RECORDS, map(keys.limits, workspaces)).values()
    names = sorted({str(name) for record in records for name in record["customers"]})
    with ThreadPoolExecutor(_QUERIES) as pool:
        for found in pool.map(lambda name: _registers(store, name), names):
            yield from found


def _registers(store: Store, customer: str) -> list[Item]:
    account, mode, id_ = customer.split("/", 2)
    return list(store.query(Table.RECORDS, keys.customer(account, mode == "live", id_), prefix="SUBSCRIPTION#"))


def _billing_row(
    workspace_id: str | None,
    record: Item | None,
    workspace: Item | None,
    subscriptions: Mapping[str, list[dict[str, Any]]],
) -> dict[str, Any]:
    names = record["customers"] if record else ()
    owned = [found for name in names for found in subscriptions.get(name, ())]
    told = with_current(record, owned) if record else _NO_BILLING
    return {
        **told,
        "workspace": workspace_id,
        "name": workspace["name"] if workspace else None,
        "customer": told["customers"][0] if told["customers"] else None,
        "period": _period(told),
        "cancellation": _cancellation(told),
        "subscriptions": owned,
    }


def _period(record: Mapping[str, Any]) -> dict[str, int] | None:
    start, end = record.get("current_period_start"), record.get("current_period_end")
    return {"start": start, "end": end} if start is not None and end is not None else None


def _cancellation(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is scheduled or has happened; `None` when nothing of it is."""
    told = {name: record.get(name) for name in ("cancel_at_period_end", "cancel_at", "canceled_at", "ended_at")}
    return told if any(told.values()) else None


def _subscriptions(records: Iterable[Item], now: datetime) -> dict[str, list[dict[str, Any]]]:
    """By customer, as billing records name it: `account/mode/customer`."""
    found: dict[str, list[dict[str, Any]]] = {}
    registers = (item for item in records if item["kind"] == "register" and item["object_type"] == "subscription")
    for item in registers:
        scope = Scope(account=item["account"], livemode=item["livemode"])
        customer = str(item.get("customer_id"))
        told = subscription_of(str(item["object_id"]), customer, view(register_of(item)) or {}, now=now)
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
