"""Reconcile: every object that Stripe has, compared with its register, repaired by merging.

A listed object is one more element of its register, dated before the request. Where the register knows better (a
newer second) nothing changes; where it says something else, that is drift: reported, and merged away. So the
same flow fills an empty system, checks a full one nightly, and repairs after lost events.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Protocol

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.link import Trust
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.domain.stripe.event import FEATURES, OWN_ACCOUNT, SUMMARY, Scope, as_id
from nilometer.domain.stripe.registers.register import Register, merge, of_answer, register, register_key, register_of
from nilometer.domain.stripe.registers.resolve import resolve
from nilometer.errors import Misconfigured, Rejected
from nilometer.flows.billing.refetch import FetchApi, ObjectAnswer, check_account, merge_answer

LISTED = (  # catalog first, charges before what names them, and last what takes a request a customer
    "product",
    "price",
    "coupon",
    "promotion_code",
    FEATURES,
    "customer",
    "payment_method",
    "subscription",
    "subscription_schedule",
    "checkout.session",
    "invoice",
    "invoice_payment",
    "payment_intent",
    "charge",
    "dispute",
    "refund",
    "credit_note",
    "payout",
    "balance_transaction",
    "radar.early_fraud_warning",
    SUMMARY,
)
MISSED = frozenset(  # listed completely, so what is absent was deleted, or a payment method of nobody any more
    {"product", "price", "customer", "payment_method", "subscription", "invoice"}
)

_Unlisted = tuple[str, str, Item | None]  # type, id, register


class ListPage(Protocol):
    """`stripe_api.StripePage`: one page of a list."""

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Stripe's JSON objects, at most a hundred."""

    @property
    def second(self) -> int:
        """Epoch seconds, not later than the moment at which Stripe looked."""

    @property
    def part(self) -> str:
        """Of which of its lists, where a type has several; else empty."""


class ReconcileApi(FetchApi, Protocol):
    """`stripe_api.StripeApi`, of one account and mode."""

    def pages(self, object_type: str, after: str | None = None) -> Iterable[ListPage]:
        """All objects of a type, newest first, a request a page, from the object `after` on.

        `Misconfigured` when the key may not read them; `Rejected` when `after` is gone.
        """

    def events(self, *, since: int, after: str | None = None) -> Iterable[ListPage]:
        """Events created since this second, newest first, after the event id `after`. Stripe keeps them thirty days."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a page, as an answer."""

    object: dict[str, Any] | None
    second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One object about which we and Stripe differ: the names of the fields that do."""

    object_type: str
    object_id: str
    fields: tuple[str, ...]


@dataclass(slots=True)
class ReconcileReport:
    """`stopped`: the time was over before the end, so deletions that no event reported were not looked for.

    `refused`: types that the key may not read; the others were compared.
    """

    compared: int = 0
    drift: list[Drift] = field(default_factory=list)
    stopped: bool = False
    refused: list[str] = field(default_factory=list)

    def add(self, other: ReconcileReport) -> None:
        """What was found in another account."""
        self.compared += other.compared
        self.drift += other.drift
        self.stopped = self.stopped or other.stopped


def reconcile(
    store: Store,
    api: ReconcileApi,
    *,
    scope: Scope,
    now: datetime,
    dry_run: bool = False,
    object_types: Sequence[str] = LISTED,
    progress: Callable[[str, int], None] = lambda _type, _count: None,
    out_of_time: Callable[[], bool] = lambda: False,
    trust: Trust | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> ReconcileReport:
    """Compares every object of `object_types`; merges what differs unless `dry_run`. May be stopped and repeated.

    `now` is when it begins. It may take hours, and each record says when it was written: one that is made then and
    says an hour before would be taken for what a restore copied (`domain.store.copies`), and not be announced.
    `trust` says whose objects may name workspaces; None: as it was when their links were written.
    `progress(list, compared)`, a type or a part of it as `active price`, is called after each page;
    `out_of_time` is asked before the next one.
    `Misconfigured` when Stripe refuses the key for every type, or as `check_account` says.
    """
    began = monotonic()

    def clock() -> datetime:
        return now + timedelta(seconds=monotonic() - began)

    check_account(store, api, scope)
    report = ReconcileReport()
    seen: set[str] = set()
    owners: set[str] = set()
    for object_type in object_types:
        for page in _readable(api, object_type, report):
            seen |= {id_of(found) for found in page.objects}
            owners |= {owner for found in page.objects if (owner := as_id(found.get("customer")))}
            compare_page(store, page, scope, clock(), report, dry_run=dry_run, trust=trust)
            progress(f"{page.part} {object_type}".lstrip(), report.compared)
            if out_of_time():
                report.stopped = True
                return report
    readable = [object_type for object_type in object_types if object_type not in report.refused]
    if object_types and not readable:
        raise Misconfigured("Stripe refused the API key for every type of object; give it read access")
    unknown = unlisted_owners(store, scope, owners - seen) if "customer" in readable else ()
    for object_type, object_id, stored in chain(_missed(store, scope, seen, readable), unknown):
        if out_of_time():
            report.stopped = True
            return report
        answer = api.fetch(object_type, object_id)
        compare_answer(
            store, answer, object_type, object_id, stored, scope, clock(), report, dry_run=dry_run, trust=trust
        )
    return report


def accounts(store: Store, *, livemode: bool) -> list[str]:
    """The Connect accounts that we hold objects of, in another order each time, so that each gets its turn. Scans."""
    of_mode = (item for item in store.scan(Table.RECORDS, kind="register") if item["livemode"] == livemode)
    found = sorted({str(item["account"]) for item in of_mode} - {OWN_ACCOUNT})
    return random.sample(found, len(found))


def _readable(api: ReconcileApi, object_type: str, report: ReconcileReport) -> Iterator[ListPage]:
    """A restricted key need not read everything: what it may not is named."""
    try:
        yield from api.pages(object_type)
    except Misconfigured:
        report.refused.append(object_type)


def _discounts(listed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a customer, a subscription or its items show whole: a discount has no list of its own."""
    items = (listed.get("items") or {}).get("data") or () if listed.get("object") == "subscription" else ()
    shown = [listed.get("discount")] + [one for owner in (listed, *items) for one in owner.get("discounts") or ()]
    yield from (one for one in shown if isinstance(one, dict) and one.get("object") == "discount" and one.get("id"))


def compare_page(
    store: Store,
    page: ListPage,
    scope: Scope,
    now: datetime,
    report: ReconcileReport,
    *,
    dry_run: bool = False,
    trust: Trust | None = None,
) -> None:
    """One BatchGet a page; only what differs is written."""
    answers = [Listed(found, page.second) for listed in page.objects for found in (listed, *_discounts(listed))]
    keyed = {_key(scope, answer): answer for answer in answers}
    stored = store.batch_get(Table.RECORDS, keyed)
    for key, answer in keyed.items():
        found = answer.object or {}
        if key in stored or not _nothing(found):
            kind, known = str(found["object"]), stored.get(key)
            compare_answer(store, answer, kind, id_of(found), known, scope, now, report, dry_run=dry_run, trust=trust)


def compare_answer(  # one comparison in full; it has two callers
    store: Store,
    answer: ObjectAnswer,
    object_type: str,
    object_id: str,
    stored: Item | None,
    scope: Scope,
    now: datetime,
    report: ReconcileReport,
    *,
    dry_run: bool = False,
    trust: Trust | None = None,
) -> None:
    """Merges one answer where it says something else than what is `stored`, unless `dry_run`; `report` counts."""
    report.compared += 1
    element = of_answer(answer.object, object_type=object_type, object_id=object_id, second=answer.second)
    fields = changed(register_of(stored), merge(register_of(stored), register([element])))
    if not fields:
        return
    report.drift.append(Drift(object_type=object_type, object_id=object_id, fields=fields))
    if dry_run:
        return
    with contextlib.suppress(Rejected):  # too large for a transaction: drift in every night, beside which all goes on
        merge_answer(
            store,
            answer,
            scope=scope,
            object_type=object_type,
            object_id=object_id,
            now=now,
            known=stored,
            trust=trust,
        )


def changed(before: Register, after: Register) -> tuple[str, ...]:
    """Names of the fields in which two registers' states differ; a doubt that is settled counts too."""
    left, right = resolve(before), resolve(after)
    ours, theirs = (left.state if left else {}), (right.state if right else {})
    names = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    if left and left.ambiguous and right and not right.ambiguous:
        names.add("ambiguous")
    return tuple(sorted(names))


def _missed(store: Store, scope: Scope, seen: set[str], object_types: Sequence[str]) -> Iterator[_Unlisted]:
    """Objects that live here and that Stripe did not list: deleted or detached, most likely. Scans."""
    for item in store.scan(Table.RECORDS, kind="register"):
        listed = item["object_type"] in MISSED and item["object_type"] in object_types
        mine = (item["account"], item["livemode"]) == (scope.account, scope.livemode)
        if listed and mine and lives_unlisted(item) and item.get("object_id") not in seen:
            yield str(item["object_type"]), str(item["object_id"]), item


def unlisted_owners(store: Store, scope: Scope, owners: set[str]) -> Iterator[_Unlisted]:
    """Customers of listed objects that are neither listed nor known here: deleted before an event of theirs came."""
    keyed = {register_key(scope, "customer", owner, owner): owner for owner in sorted(owners)}
    known = store.batch_get(Table.RECORDS, keyed, attributes=("version",))
    yield from (("customer", owner, None) for key, owner in keyed.items() if key not in known)


def lives_unlisted(item: Item) -> bool:
    """A payment method that is detached is listed no more, and still there."""
    detached = item["object_type"] == "payment_method" and "customer_id" not in item
    return not item.get("deleted") and not detached


def _key(scope: Scope, answer: Listed) -> Key:
    found = answer.object or {}
    customer_id = found["id"] if found["object"] == "customer" else as_id(found.get("customer"))
    return register_key(scope, str(found["object"]), id_of(found), customer_id)


def id_of(found: Mapping[str, Any]) -> str:
    """A summary of entitlements goes by its customer."""
    return str(found["customer"] if found["object"] == SUMMARY else found["id"])


def _nothing(found: Mapping[str, Any]) -> bool:
    """Most customers have no entitlements, and no event ever said so; many accounts have no features."""
    if found["object"] == FEATURES:
        return not found["features"]
    return found["object"] == SUMMARY and not found["entitlements"]["data"]
