"""Limits: what is left of one, and an alert for every threshold that was crossed.

counter, plan or own limits change ──▶ what is used now? which thresholds are reached? ──▶ alert, put if absent
                                                         what can still be reserved?   ──▶ allowance
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain.limits.limit import HARD, Limit, State, alert, crossed_at, limit_of, state_of
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Table
from nilometer.domain.usage.meter import Meter
from nilometer.domain.usage.period import Period, period_at
from nilometer.errors import Cancelled, Rejected, Unavailable
from nilometer.flows.inbox.races import retrying
from nilometer.flows.limits.reserving import synchronize
from nilometer.flows.usage.counters import used_in
from nilometer.flows.usage.known import Known

SYNCHRONIZING = 5  # tries against those who reserve at this moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is left of a limit. `used` is what was counted by `as_of`; usage in flight is not in it."""

    allowed: bool
    state: State
    used: Decimal
    included: Decimal | None
    remaining: Decimal | None
    period_start: str
    resets_at: str
    as_of: str
    source: str | None


def check(known: Known, workspace_id: str, meter: str, *, quantity: Decimal, now: datetime) -> Checked:
    """Whether `quantity` more may be used: one query, besides what the process has cached.

    When the tables do not answer, the meter's `fail_open` decides. `Rejected("unknown_meter")` for no meter.
    """
    found = known.meters([meter]).get(meter)
    if found is None:
        raise Rejected("unknown_meter", f"no meter {meter!r}; create it: nilometer meter create {meter} ...")
    try:
        return _check(known, workspace_id, found, quantity, now)
    except Unavailable:
        period = period_at(None, now)
        return _checked(found.fail_open, State.UNKNOWN, None, Decimal(0), Decimal(0), period, now)


def tell(
    known: Known,
    workspace_id: str,
    meter: str | None,
    start: str | None,
    *,
    now: datetime,
    cause: str | None = None,
    fresh: bool = True,
) -> int:
    """Puts an alert for every threshold that is reached and had none; how many. Of one counter, the `meter`'s in
    the period that starts at `start`, or of all limits now.

    Level-triggered: it asks what is true now, with the limits read afresh, so a lost, repeated or late call does not
    matter as long as one comes after. Of two who see the same crossing one put wins, once a limit version. `cause` is
    the event of the change that called; what was counted meanwhile may have crossed. Without `fresh` the caller has
    read the workspace afresh, after the change.

    None of a period that has ended: the limits of now are not those that it had.
    """
    tenant = known.tenants([workspace_id], fresh=fresh).get(workspace_id)
    billing = tenant.billing if tenant else None
    rules = tenant.rules(now) if tenant else {}
    period = period_at(billing, parse_rfc3339(start) if start else now)
    if period.start < period_at(billing, now).start:
        return 0
    meters = known.meters(rules if meter is None else rules.keys() & {meter})
    return sum(
        _tell_meter(known.store, workspace_id, one, limit, start or rfc3339(period.start), period, now, cause)
        for one in meters.values()
        if (limit := limit_of(rules, one.slug))
    )


def _check(known: Known, workspace_id: str, meter: Meter, quantity: Decimal, now: datetime) -> Checked:
    tenant = known.tenants([workspace_id]).get(workspace_id)
    billing = tenant.billing if tenant else None
    period = period_at(billing, now)
    limit = tenant.limit(meter.slug, now) if tenant else None
    amount = used_in(known.store, workspace_id, meter, rfc3339(period.start))
    since = _exceeded_at(known.store, workspace_id, meter.slug, period, limit, amount)
    state = state_of(limit, amount, exceeded_at=since, now=now)
    return _checked(_allowed(limit, state, amount + quantity), state, limit, amount, quantity, period, now)


def _allowed(limit: Limit | None, state: State, wanted: Decimal) -> bool:
    if limit is None or limit.hard is None or state is State.GRACE:
        return True
    return wanted <= limit.hard or (bool(limit.grace) and state is not State.BLOCKED)


def _checked(
    allowed: bool, state: State, limit: Limit | None, used: Decimal, _quantity: Decimal, period: Period, now: datetime
) -> Checked:
    bound = None if limit is None else (limit.hard if limit.hard is not None else limit.included)
    return Checked(
        allowed=allowed,
        state=state,
        used=used,
        included=limit.included if limit else None,
        remaining=None if bound is None else max(Decimal(0), bound - used),
        period_start=rfc3339(period.start),
        resets_at=rfc3339(period.end),
        as_of=rfc3339(now),
        source=limit.source if limit else None,
    )


def _exceeded_at(
    store: Store, workspace_id: str, meter: str, period: Period, limit: Limit | None, used: Decimal
) -> datetime | None:
    """Read only where it matters: the hard limit is exceeded and there is a grace."""
    if limit is None or limit.hard is None or not limit.grace or used < limit.hard:
        return None
    return crossed_at(
        store.get(Table.RECORDS, keys.alert(workspace_id, meter, rfc3339(period.start), HARD, limit.version))
    )


def _tell_meter(
    store: Store,
    workspace_id: str,
    meter: Meter,
    limit: Limit,
    start: str,
    period: Period,
    now: datetime,
    cause: str | None,
) -> int:
    amount = used_in(store, workspace_id, meter, start, consistent=True)
    _lower_allowance(store, workspace_id, meter, limit, period, now)
    wanted = limit.crossed(amount)
    known = _alerted(store, workspace_id, meter.slug, start) if wanted else set()
    given: dict[str, Any] = {"used": amount, "period": (start, rfc3339(period.end)), "now": now, "cause": cause}
    puts = [alert(workspace_id, meter.slug, threshold, limit, **given) for threshold in wanted]
    return sum(_put_once(store, put) for put in puts if put.key not in known)


def _lower_allowance(
    store: Store, workspace_id: str, meter: Meter, limit: Limit, period: Period, now: datetime
) -> None:
    """By usage that was not reserved. Where nobody reserves there is none. When others reserve all the time, the next
    change of the counter, or whoever is refused, brings it up to date."""
    key = keys.allowance(workspace_id, meter.slug, rfc3339(period.start))
    if limit.hard is None or store.get(Table.RECORDS, key) is None:
        return
    with contextlib.suppress(Cancelled):
        retrying(partial(synchronize, store, workspace_id, meter, period, limit, now=now), attempts=SYNCHRONIZING)


def _alerted(store: Store, workspace_id: str, meter: str, start: str) -> set[tuple[str, str]]:
    key = keys.alert(workspace_id, meter, start, "", "")
    return {(item["pk"], item["sk"]) for item in store.query(Table.RECORDS, key.pk, prefix=key.sk.removesuffix("#"))}


def _put_once(store: Store, put: Any) -> int:
    try:
        store.commit([put])
    except Cancelled as error:
        if error.condition_failed:
            return 0
        raise
    return 1
