"""The schedules → refetch what is due, reconcile everything, or report to Stripe's meters → counts, and one line an
object that was asked for, differed or was reported.

Without an API key of Stripe in its secret the function does nothing and says so.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client
from nilometer.aws.dynamodb import Store
from nilometer.aws.secrets import StripeKey
from nilometer.domain.billing.link import Trust, trust_of
from nilometer.domain.stripe.event import Scope
from nilometer.errors import Misconfigured, NotPermitted, Rejected
from nilometer.flows.billing import catalog, coverage, reconcile, refetch
from nilometer.flows.usage import meter_reports, metering
from nilometer.flows.usage.known import Known
from nilometer.flows.usage.metering import Told
from nilometer.lambdas import count, handling, logger, metric, optional, variables
from nilometer.stripe_api.client import StripeApi, is_live

_RESERVE_SECONDS = 60.0  # a page of a hundred differing objects, and a request that Stripe refuses a few times
_REFETCH_SECONDS = 50.0  # the next minute has a run of its own
_REQUESTS_PER_SECOND = 10  # a refetch and the nightly reconcile together stay below Stripe's 25

_OutOfTime = Callable[[], bool]


@handling
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """`event` is the schedule's input: `{"do": "refetch"}`, `{"do": "reconcile"}` or `{"do": "meter"}`."""
    store, stored_key, scopes = _dependencies()
    if event["do"] == "refetch":
        _resume(store, context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS)
    key = stored_key.current()
    if key is None:
        logger.info("reconcile.off", extra={"reason": "no API key of Stripe is stored"})
        count("reconcile", ["without_key"] * (event["do"] == "reconcile"))
        return {}
    base = optional("STRIPE_API_BASE")  # another Stripe than the real one, where a test plays it
    api = StripeApi(key, base_url=base, requests_per_second=_REQUESTS_PER_SECOND)
    seconds = context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
    scope, trust = Scope(livemode=is_live(key)), trust_of(scopes)
    return run(str(event["do"]), store=store, api=api, scope=scope, seconds=seconds, trust=trust)


def run(
    task: str, *, store: Store, api: StripeApi, scope: Scope, seconds: float, trust: Trust | None = None
) -> dict[str, Any]:
    """Does `task` for at most `seconds`; what is left waits for the next run. A task that is unknown is a KeyError.

    `trust` says whose objects may name workspaces; None: as it was when their links were written.
    """
    return _TASKS[task](store, api, scope, seconds, trust)


def _resume(store: Store, seconds: float) -> None:
    """Products and prices that changed, in the records that use them; needs no key of Stripe."""
    if done := catalog.resume(store, now=datetime.now(UTC), out_of_time=_deadline(min(seconds, _REFETCH_SECONDS))):
        logger.info("refold.done", extra={"changes": done})


def _refetch(store: Store, api: StripeApi, scope: Scope, seconds: float, trust: Trust | None) -> dict[str, Any]:
    over = _deadline(min(seconds, _REFETCH_SECONDS))
    asked = refetch.refetch_due(store, api, scope=scope, now=datetime.now(UTC), out_of_time=over, trust=trust)
    for one in asked:
        log = logger.info if one.outcome == "settled" else logger.warning
        named = {"object_type": one.object_type, "object_id": one.object_id, "stripe_account": one.account}
        log(f"refetch.{one.outcome}", extra=named)
    count("reconcile", (one.outcome for one in asked))
    _read_reports(store, api, scope, over)
    if asked:
        metric("reconcile", "RefetchUnsettled", sum(one.outcome != "settled" for one in asked))
    return {"asked": len(asked)}


@dataclass(frozen=True, slots=True)
class _OwnReports:
    """`api`, whose account is checked before its answer that a report is gone is believed."""

    store: Store
    api: StripeApi
    scope: Scope

    def thin_event(self, event_id: str) -> dict[str, Any] | None:
        found = self.api.thin_event(event_id)
        if found is None:
            refetch.check_account(self.store, self.api, self.scope)
        return found


def _read_reports(store: Store, api: StripeApi, scope: Scope, over: _OutOfTime) -> None:
    """Which usage Stripe took and could not count: back in the outbox, where a person decides."""
    own = _OwnReports(store, api, scope)
    for one in meter_reports.read_reports(store, own, scope=scope, now=datetime.now(UTC), out_of_time=over):
        named = {"event_id": one.event_id, "errors": one.errors, "strange": one.strange, "unnamed": one.unnamed}
        logger.warning(f"meter_report.{one.outcome}", extra={**named, "refused": sorted(one.refused)})


def _reconcile(store: Store, api: StripeApi, scope: Scope, seconds: float, trust: Trust | None) -> dict[str, Any]:
    """The platform, then its Connect accounts; one that refuses the key is named and passed over."""
    over = _deadline(seconds)
    now = datetime.now(UTC)
    report = _compare(store, api, scope, over, trust)
    overdue = _overdue(store, scope, now)
    accounts = coverage.accounts_of(store, scope, now)
    while accounts and not over():
        whose = Scope(account=accounts.pop(), livemode=scope.livemode)
        try:
            found = _compare(store, api.of(whose.account), whose, over, trust)
        except Misconfigured:  # most likely no longer connected
            logger.warning("reconcile.refused", extra={"stripe_account": whose.account})
            continue
        report.add(found)
        overdue += _overdue(store, whose, now)
    report.stopped = report.stopped or bool(accounts)
    log = logger.warning if report.stopped else logger.info
    done = {"compared": report.compared, "drift": len(report.drift), "stopped": report.stopped}
    log("reconcile.done", extra=done)
    count("reconcile", [*["drift"] * len(report.drift), "stopped" if report.stopped else "reconciled"])
    metric("reconcile", "DriftFound", len(report.drift))
    metric("reconcile", "NotCompared", overdue)
    return done


def _overdue(store: Store, scope: Scope, now: datetime) -> int:
    """Types of which some object may not have been compared for 48 hours."""
    late = [one.object_type for one in coverage.coverage(store, scope) if one.is_overdue(now)]
    if late:
        logger.warning("reconcile.overdue", extra={"stripe_account": scope.account, "object_types": late})
    return len(late)


def _compare(
    store: Store, api: StripeApi, scope: Scope, over: _OutOfTime, trust: Trust | None
) -> reconcile.ReconcileReport:
    report = coverage.reconcile_due(store, api, scope=scope, now=datetime.now(UTC), out_of_time=over, trust=trust)
    whose = {"stripe_account": scope.account}
    for drift in report.drift:
        extra = {**whose, "object_type": drift.object_type, "object_id": drift.object_id, "fields": drift.fields}
        logger.warning("reconcile.drift", extra=extra)
    if report.refused:
        logger.warning("reconcile.refused", extra={**whose, "object_types": report.refused})
    return report


@dataclass(slots=True)
class _OwnCustomers:
    """Before usage is sent: has the key's account our customers? Stripe takes usage of a customer that it does not
    know, and says only to its own account that it does not count.

    Until Stripe knows one customer, each is asked for before its usage is sent. A key that may not read them says
    nothing, and test mode is not checked, as in `check_account`.
    """

    store: Store
    api: StripeApi
    scope: Scope
    checked: bool = False
    searched: bool = False

    def __call__(self, customer_id: str) -> None:
        """`Misconfigured` when the key is of another account, `Rejected` when Stripe has no such customer."""
        if self.checked or not self.scope.livemode:
            return
        if self._is_known(customer_id):
            self.checked = True
            return
        if not self.searched:
            self.checked = refetch.check_account(self.store, self.api, self.scope)
            self.searched = True
        raise Rejected("unknown_customer", f"the account of the API key has no customer {customer_id}")

    def _is_known(self, customer_id: str) -> bool:
        try:
            return self.api.fetch("customer", customer_id).object is not None
        except NotPermitted:
            return True


def _meter(store: Store, api: StripeApi, scope: Scope, seconds: float, _trust: Trust | None) -> dict[str, Any]:
    drained = metering.drain(
        Known(store),
        api.meter_events,
        scope=scope,
        now=datetime.now(UTC),
        out_of_time=_deadline(seconds),
        check=_OwnCustomers(store, api, scope),
    )
    told: Counter[str] = Counter()
    left = 0
    for one in drained:
        log = logger.info if one.told in {Told.SENT, Told.NOTHING} else logger.warning
        log(f"metering.{one.told}", extra={**asdict(one.of), "reason": one.message})
        told[one.told] += 1
        left = one.left
    if left:
        logger.warning("metering.left", extra={"left": left})
    count("reconcile", told.elements())
    metric("reconcile", "MeterEventsStuck", told[Told.OVERDUE] + told[Told.REFUSED])
    return dict(told)


_TASKS: dict[str, Callable[[Store, StripeApi, Scope, float, Trust | None], dict[str, Any]]] = {
    "refetch": _refetch,
    "reconcile": _reconcile,
    "meter": _meter,
}


def _deadline(seconds: float) -> _OutOfTime:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


@cache
def _dependencies() -> tuple[Store, StripeKey, str]:
    records, events, key, scopes = variables("RECORDS_TABLE", "EVENTS_TABLE", "STRIPE_API_KEY_ARN", "BILLING_SCOPES")
    store = Store(client("dynamodb"), records=records, events=events)
    return store, StripeKey(client("secretsmanager"), arn=key), scopes
