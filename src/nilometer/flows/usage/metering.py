"""Usage to Stripe's meters: the outbox of deltas, drained in order, one at a time for each counter.

    counter changes ──▶ outbox ──▶ each hour: what was used, less what Stripe has ──▶ pending ──▶ Stripe ──▶ sent

What if the process dies before or after sending? The delta was stored before: it is sent again under its identifier,
and Stripe says that it has it. What if two drain at once? Both send the same delta, and one of them marks it. What if
usage comes meanwhile? It is in the outbox again, and the next hourly run reports it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.link import payer
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Put, Table
from nilometer.domain.stripe.event import Scope
from nilometer.domain.usage.meter import Aggregation, Meter
from nilometer.domain.usage.meter_event import (
    Metered,
    MeterEvent,
    begun,
    is_overdue,
    is_too_old,
    metered_of,
    next_delta,
    pending_of,
    renewed,
    restated,
    rests,
    sent,
    settled,
    touched,
)
from nilometer.domain.usage.meter_report import decided, reported
from nilometer.domain.usage.period import period_at
from nilometer.errors import Cancelled, Refused, Rejected, Unavailable
from nilometer.flows.usage.counters import periods_of, used_in
from nilometer.flows.usage.known import Known

ADDED = frozenset({Aggregation.SUM, Aggregation.COUNT})
"""Only amounts have deltas; a level is reported to another kind of meter at Stripe."""


class MeterEvents(Protocol):
    """Stripe's meter events, or a recording of them."""

    def send(self, event: MeterEvent) -> None:
        """Returns when Stripe has it, from this call or an earlier one; `Unavailable` when that is not known."""


class Told(StrEnum):
    """`overdue`: a delta could not be sent for a day, so it may or may not be at Stripe: a person must look.
    `refused`: Stripe will not have it as it is. Both stay in the outbox, as does what is `unavailable`. `too_old`: of a
    period of which Stripe takes nothing any more; said once for each amount."""

    SENT = "sent"
    NOTHING = "nothing"  # Stripe has all, or must get no report
    TOO_OLD = "too_old"
    OVERDUE = "overdue"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """One counter; `message` says what is wrong, `left` how many counters this run had not looked at yet."""

    of: Metered
    told: Told
    message: str = ""
    left: int = 0


class _Billed(NamedTuple):
    """What is billed, and to which customer."""

    meter: Meter
    to: str

    @property
    def event_name(self) -> str:
        return str(self.meter.stripe_event_name)


def is_told(meter: Meter) -> bool:
    """Whether Stripe has a meter for it."""
    return meter.stripe_event_name is not None and meter.aggregation in ADDED


def touch(known: Known, workspace_id: str, meter: str, start: str, *, now: datetime) -> None:
    """After a counter changed: into the outbox, if Stripe must know of it. A read, and a write if it is not there."""
    found = known.meters([meter]).get(meter)
    if found is None or not is_told(found):
        return
    tenant = known.tenants([workspace_id]).get(workspace_id)
    end = rfc3339(period_at(tenant.billing if tenant else None, parse_rfc3339(start)).end)
    of = Metered(workspace_id=workspace_id, meter=meter, period_start=start, period_end=end)
    stored = _stored(known.store, of)
    if stored is None and is_too_old(of, now):
        return
    if stored is None or not stored["changed"]:
        known.store.commit([touched(of, now=now)])


def touch_all(known: Known, workspace_id: str, *, now: datetime) -> None:
    """Every period of the workspace's meters that Stripe has: another customer pays for it."""
    named = {(item["meter"], item["period_start"]) for item in periods_of(known.store, workspace_id)}
    for meter, start in sorted(named):
        touch(known, workspace_id, meter, start, now=now)


def outbox(store: Store) -> Iterator[Item]:
    """What Stripe may not have in full. Eventually consistent."""
    return store.query_index(keys.OUTBOX)


def decide(store: Store, identifier: str, *, is_at_stripe: bool, now: datetime) -> None:
    """What a person found out about a delta that is overdue, or that Stripe refused after it had taken it: that one is
    sent as a part of the next delta, once. `Refused` when no delta of this identifier waits."""
    found = next((item for item in outbox(store) if identifier in _undecided(item)), None)
    if found is None:
        raise Refused(f"no delta {identifier} waits; see nilometer usage outbox")
    of = metered_of(found)
    stored = _stored(store, of) or {}
    if stored.get("pending", {}).get("identifier") == identifier:
        _commit(store, sent(stored, of, now=now) if is_at_stripe else renewed(stored, of, now=now))
    elif identifier in stored.get("refused", {}):
        _commit(store, decided(stored, of, identifier, is_at_stripe=is_at_stripe, now=now))


def _undecided(item: Item) -> set[str]:
    return {item.get("pending", {}).get("identifier"), *item.get("refused", {})}


def drain(
    known: Known,
    stripe: MeterEvents,
    *,
    scope: Scope,
    now: datetime,
    out_of_time: Callable[[], bool] = lambda: False,
    check: Callable[[str], None] = lambda _: None,
) -> Iterator[Drained]:
    """Reports to Stripe what it does not have, counter by counter; a failure of one stops no other.

    Only workspaces whose customer is of `scope` are reported. What is left at `out_of_time` waits for the next run;
    each run has another order, so that each counter gets its turn. `check` is called with a customer's id before
    anything is fixed or sent for it: `Rejected` leaves the counter in the outbox, `Misconfigured` ends the run.
    """
    reached = _Stripe(stripe, scope, check)
    waiting = [metered_of(item) for item in outbox(known.store)]
    for left, of in zip(reversed(range(len(waiting))), random.sample(waiting, len(waiting)), strict=True):
        if out_of_time():
            return
        yield replace(_try_drain(known, reached, of, now), left=left)


class _Stripe(NamedTuple):
    """As a key reaches it."""

    meters: MeterEvents
    scope: Scope
    check: Callable[[str], None]


def _try_drain(known: Known, stripe: _Stripe, of: Metered, now: datetime) -> Drained:
    try:
        return _drain(known, stripe, of, now)
    except Refused as error:
        return Drained(of=of, told=Told.OVERDUE, message=str(error))
    except Rejected as error:
        return Drained(of=of, told=Told.REFUSED, message=str(error))
    except Unavailable as error:
        return Drained(of=of, told=Told.UNAVAILABLE, message=str(error))


def _drain(known: Known, stripe: _Stripe, of: Metered, now: datetime) -> Drained:
    """`Cancelled` when another drain or a change of the counter was faster."""
    store = known.store
    tenant = known.tenants([of.workspace_id], fresh=True).get(of.workspace_id)
    of = _with_end(of, tenant.billing if tenant else None)
    stored: Item | None = _stored(store, of)
    done = Drained(of=of, told=Told.NOTHING)
    if stored is None or "gsi1pk" not in stored:
        return done  # the index is behind
    if rests(stored):
        return done  # until a person decides
    billed = _billed(known, of, payer(tenant.billing) if tenant else None, stripe.scope)
    _check(stripe, stored, billed)
    names = {"event_name": billed.event_name, "customer_id": billed.to, "scope": str(stripe.scope)} if billed else {}
    if "pending" in stored:
        if billed and (other := restated(stored, of, **names, now=now)):
            stored = _commit(store, other)
        stored = _send(store, stripe.meters, stored, of, now)
        done = Drained(of=of, told=Told.SENT)
    if billed is None:
        _commit(store, settled({**stored, "changed": False}, of, now=now))
        return done
    stored = _commit(store, begun(stored, of, now=now))
    used = used_in(store, of.workspace_id, billed.meter, of.period_start, consistent=True)
    put = next_delta(stored, of, used=used, **names, now=now)
    fixed = pending_of(put.item) if put else None
    if put is None or fixed is None:
        _commit(store, settled(stored, of, now=now))
        return done
    if is_too_old(of, now):
        _commit(store, settled(stored, of, now=now, unsent=fixed.value))
        return done if stored.get("unsent") == fixed.value else _too_old(of, fixed)
    _send(store, stripe.meters, _commit(store, put, reported(of, fixed, now=now)), of, now)
    return Drained(of=of, told=Told.SENT)


def _check(stripe: _Stripe, stored: Item, billed: _Billed | None) -> None:
    """`Rejected` for a delta of another mode than the key's, in which nobody pays now: there it would be lost."""
    whose = stored.get("pending_scope", str(stripe.scope))  # an older version did not keep it
    if billed is None and "pending" in stored and whose != str(stripe.scope):
        raise Rejected("wrong_key", f"the pending delta is for {whose}, the API key is of {stripe.scope}")
    customer = billed.to if billed else stored.get("pending", {}).get("customer_id")
    if customer:
        stripe.check(customer)


def _too_old(of: Metered, delta: MeterEvent) -> Drained:
    message = f"{delta.value:f} of the period until {of.period_end} can be sent no more"
    return Drained(of=of, told=Told.TOO_OLD, message=message)


def _billed(known: Known, of: Metered, name: str | None, scope: Scope) -> _Billed | None:
    """Where the key that we have reports to Stripe."""
    meter = known.meters([of.meter]).get(of.meter)
    owner, _, customer_id = (name or "").rpartition("/")
    return _Billed(meter, customer_id) if meter and is_told(meter) and owner == str(scope) else None


def _with_end(of: Metered, billing: Item | None) -> Metered:
    """A period's end may have moved since its counter changed."""
    period = period_at(billing, parse_rfc3339(of.period_start))
    same = rfc3339(period.start) == of.period_start
    return Metered(
        workspace_id=of.workspace_id,
        meter=of.meter,
        period_start=of.period_start,
        period_end=rfc3339(period.end) if same else of.period_end,
    )


def _send(store: Store, stripe: MeterEvents, stored: Item, of: Metered, now: datetime) -> Item:
    event = pending_of(stored)
    assert event  # noqa: S101  # the caller has seen it
    if is_overdue(stored, now):
        raise Refused(f"{event.identifier} waits for a day; search for it at Stripe before it is sent")
    stripe.send(event)
    return _commit(store, sent(stored, of, now=now))


def _stored(store: Store, of: Metered) -> Item | None:
    return store.get(Table.RECORDS, of.key, consistent=True)


def _commit(store: Store, put: Put, *more: Put) -> Item:
    """What is stored now, with `more` in one transaction."""
    try:
        store.commit([put, *more])
    except Cancelled as error:
        raise Unavailable("it changed meanwhile; the next run continues") from error
    return put.item
