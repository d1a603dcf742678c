"""Refetch: objects whose events leave a doubt, or that a thin notification named, are asked of Stripe.

Delayed: an event in flight may settle it, and then Stripe is not asked. Coalesced: one object is due once,
however many reasons there are. An answer is one more element of the register; no lock is held while Stripe
answers, and of two workers with two answers the later dated one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Protocol

from nilometer.aws.dynamodb import TRANSACTION_LIMIT, Store
from nilometer.domain.billing.group import Evidence, Group, Torn
from nilometer.domain.billing.link import Trust
from nilometer.domain.billing.plan import Plan
from nilometer.domain.billing.record.inputs import CATALOG, catalog_name
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Delete, Item, Key, Table, unchanged
from nilometer.domain.stripe.event import OWN_ACCOUNT, SUMMARY, THIN, Scope, account_in, as_id
from nilometer.domain.stripe.registers.register import OWNED, knows, of_answer, register_of
from nilometer.domain.stripe.registers.resolve import REFETCH_INDEX
from nilometer.errors import Cancelled, Misconfigured, NotPermitted, Rejected, Unavailable
from nilometer.flows.billing.catalog import refold
from nilometer.flows.inbox.races import retrying

CUSTOMERS = 20  # that Stripe is asked for until it knows one


class ObjectAnswer(Protocol):
    """`stripe_api.StripeAnswer`: what Stripe says of one object."""

    @property
    def object(self) -> dict[str, Any] | None:
        """Stripe's JSON object; None for 404."""

    @property
    def second(self) -> int:
        """Epoch seconds, not later than the moment at which Stripe looked."""


class FetchApi(Protocol):
    """`stripe_api.StripeApi`, of one account and mode; `of` is the same key's of a Connect account."""

    def fetch(self, object_type: str, object_id: str) -> ObjectAnswer:
        """The object as it is now. `Unavailable` when Stripe does not answer; `NotPermitted` when the key may not read
        the type, `Misconfigured` when Stripe refuses it for the account."""

    def of(self, account: str) -> FetchApi:
        """The same key within the same pace, for the objects of a Connect account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueObject:
    """One object that was due, and what became of it: `settled`, `not_fetchable`, or an error's name."""

    account: str
    object_type: str
    object_id: str
    outcome: str


def due(store: Store, now: datetime) -> Iterator[Item]:
    """Registers in doubt and requested fetches whose time has come, the longest waiting first. Reports of meter errors
    are no objects: `flows.usage.meter_reports` reads them."""
    for item in store.query_index(REFETCH_INDEX, until=rfc3339(now)):
        if item["object_type"] != THIN:
            yield item


def refetch_due(
    store: Store,
    api: FetchApi,
    *,
    scope: Scope,
    now: datetime,
    limit: int = 500,
    out_of_time: Callable[[], bool] = lambda: False,
    trust: Trust | None = None,
) -> list[DueObject]:
    """Settles due objects of one scope, at most `limit` and until `out_of_time`; the others stay due.

    `trust` says whose objects may name workspaces; None: as it was when their links were written.

    The platform's scope has its Connect accounts with it, each asked as itself. A failure of one object does not
    stop others; an account that refuses the key, and a type that the key may not read, are left alone until the next
    run. `Misconfigured` when Stripe refuses the key for the scope's own account, or as `check_account` says.
    """
    asked: list[DueObject] = []
    own = _OwnAccount(store, api, scope)
    refusing: set[str | tuple[str, str]] = set()
    for item in due(store, now):
        if len(asked) == limit or out_of_time():
            break
        account = account_in(str(item["account"]))  # an older version took a context for its account
        of_type = (account, str(item["object_type"]))
        if not _within(scope, item) or not refusing.isdisjoint({account, of_type}):
            continue
        of = own if account == scope.account else api.of(account)
        whose = Scope(account=account, livemode=scope.livemode)
        try:
            asked.append(_settle(store, of, whose, item, now, trust))
        except Misconfigured as error:
            if account == scope.account and not isinstance(error, NotPermitted):
                raise
            refusing.add(of_type if isinstance(error, NotPermitted) else account)  # that is most likely disconnected
            asked.append(_asked(item, type(error).__name__))
    return asked


def _within(scope: Scope, item: Item) -> bool:
    return item["livemode"] == scope.livemode and scope.account in {OWN_ACCOUNT, item["account"]}


def _settle(store: Store, api: FetchApi, scope: Scope, item: Item, now: datetime, trust: Trust | None) -> DueObject:
    key = Key(item["pk"], item["sk"])
    object_type, object_id = _named(item)
    outcome = "settled"
    try:
        stored = store.get(Table.RECORDS, key, consistent=True)  # an index is behind: it may be settled already
        if stored is not None and stored.get("gsi1pk") == REFETCH_INDEX:
            answer = api.fetch(object_type, object_id)
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
            _done(store, key, stored)
    except Rejected as error:
        outcome = error.reason
    except Unavailable as error:
        outcome = type(error).__name__
    return _asked(item, outcome)


def _asked(item: Item, outcome: str) -> DueObject:
    object_type, object_id = _named(item)
    return DueObject(account=str(item["account"]), object_type=object_type, object_id=object_id, outcome=outcome)


def _named(item: Item) -> tuple[str, str]:
    """A summary of entitlements goes by its customer."""
    return str(item["object_type"]), str(item.get("object_id") or item.get("customer_id"))


def _done(store: Store, key: Key, stored: Item) -> None:
    """A request is gone with its answer, unless another reason came while Stripe answered."""
    if stored["kind"] == "refetch":
        try:
            store.commit([Delete(table=Table.RECORDS, key=key, expected=unchanged(stored, "cause", "updated_at"))])
        except Cancelled:
            return


@dataclass(slots=True)
class _OwnAccount:
    """`api`, whose account is checked before the first answer that something is gone."""

    store: Store
    api: FetchApi
    scope: Scope
    checked: bool = False

    def fetch(self, object_type: str, object_id: str) -> ObjectAnswer:
        answer = self.api.fetch(object_type, object_id)
        if not self.checked and (answer.object is None or object_type == SUMMARY):
            check_account(self.store, self.api, self.scope)
            self.checked = True
        return answer

    def of(self, account: str) -> FetchApi:
        return self.api.of(account)


def check_account(store: Store, api: FetchApi, scope: Scope) -> bool:
    """`Misconfigured` when Stripe knows none of some customers of `scope` that are known here: the key is of another
    account, to which all that we hold is missing. False when nothing says whose it is. Scans.

    Only in live mode: the data of test mode can be deleted as a whole, while a deleted customer is known for ever. A
    Connect account is named in each request.
    """
    if scope != Scope(livemode=True):
        return False
    mine = (one for one in store.scan(Table.RECORDS, kind="register") if _is_customer(one, scope))
    found = False
    try:
        for item in islice(mine, CUSTOMERS):
            found = True
            if api.fetch("customer", str(item["object_id"])).object is not None:
                return True
    except NotPermitted:  # what it may not read says nothing
        return False
    if found:
        raise Misconfigured(
            "Stripe knows none of our customers: the API key is of another account; nothing was compared or sent"
        )
    return False


def _is_customer(item: Item, scope: Scope) -> bool:
    mine = (item["account"], item["livemode"]) == (scope.account, scope.livemode)
    return mine and item["object_type"] == "customer"


def merge_answer(
    store: Store,
    answer: ObjectAnswer,
    *,
    scope: Scope,
    object_type: str,
    object_id: str,
    now: datetime,
    known: Item | None = None,
    dropped: str | None = None,
    trust: Trust | None = None,
) -> None:
    """Merges what Stripe says of one object; `known` is an item that names its customer, should the answer not.

    `dropped` is the id of an event that counts no more.
    """
    customer_id = _customer(answer.object, object_type, object_id) or (known or {}).get("customer_id")
    if customer_id is None and object_type == "payment_method":  # it is detached, and says no more whose it was
        customer_id = _owner(store, scope, object_id)
    if customer_id is None and object_type in OWNED:
        return  # gone before an event said whose it was: there is no register to close
    element = of_answer(answer.object, object_type=object_type, object_id=object_id, second=answer.second)
    evidence = Evidence(element=element, object_type=object_type, object_id=object_id)
    group = Group(
        scope=scope,
        customer_id=customer_id,
        evidence=(evidence,),
        updated_at=rfc3339(now),
        dropped=dropped,
        trusted=trust.names(scope) if trust else None,
    )
    commit_group(store, group)
    if object_type in CATALOG:
        refold(store, catalog_name(scope, object_type, object_id), now=now)


def drop_event(store: Store, api: FetchApi, object_id: str, event_id: str, *, scope: Scope, now: datetime) -> bool:
    """Takes an event out of its object's register, and merges what Stripe says now; False when no register knows it.

    The event's fact stays, so that a copy of it is a duplicate and changes nothing. Scans.
    """
    for item in store.scan(Table.RECORDS, kind="register"):
        mine = (item["account"], item["livemode"]) == (scope.account, scope.livemode)
        if mine and item.get("object_id") == object_id and knows(register_of(item), event_id):
            object_type = str(item["object_type"])
            merge_answer(
                store,
                _OwnAccount(store, api, scope).fetch(object_type, object_id),
                scope=scope,
                object_type=object_type,
                object_id=object_id,
                now=now,
                known=item,
                dropped=event_id,
            )
            return True
    return False


def commit_group(store: Store, group: Group) -> None:
    """One group's transaction on consistent reads, again when somebody was faster. `Rejected` with `too_large`."""

    def attempt() -> None:
        plan = _planned(store, group)
        if len(plan.writes()) > TRANSACTION_LIMIT:
            raise Rejected("too_large", f"more than {TRANSACTION_LIMIT} items change together")
        store.put_all(Table.RECORDS, plan.uses())
        store.commit(plan.writes())
        if plan.prepares:
            attempt()

    retrying(attempt, on=(Cancelled, Torn))


def _planned(store: Store, group: Group) -> Plan:
    known: dict[Key, Item | None] = {}
    plan = Plan(group, known)
    while plan.missing:
        found = store.batch_get(Table.RECORDS, plan.missing, consistent=True)
        known |= {key: found.get(key) for key in plan.missing}
        plan = Plan(group, known)
    return plan


def _customer(snapshot: dict[str, Any] | None, object_type: str, object_id: str) -> str | None:
    if object_type in {"customer", SUMMARY}:
        return object_id
    return as_id((snapshot or {}).get("customer"))


def _owner(store: Store, scope: Scope, payment_method: str) -> str | None:
    """Whose it was until now, as its register says; None too of one that was written before registers were found so."""
    found = store.query_index(keys.stripe_object(scope.account, scope.livemode, payment_method))
    return next((str(item["customer_id"]) for item in found if "customer_id" in item), None)
