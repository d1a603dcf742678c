"""Billing as operators read it: records, subscriptions and Stripe objects. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.group import Claim, View, current_period
from nilometer.domain.billing.link import WRITERS, Served, admitted, claims_of, served
from nilometer.domain.billing.record.fold import fold
from nilometer.domain.billing.record.inputs import Inputs, customer_name, inputs_of, read_whole
from nilometer.domain.billing.record.parts import PartsNeeded
from nilometer.domain.limits import own as own_limits
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.registers.explain import explain, object_of
from nilometer.domain.stripe.registers.register import register_of
from nilometer.flows.inbox.races import retrying

T = TypeVar("T")
_NULLS = dict.fromkeys(fold(Inputs()))  # an item leaves them out
_SOMETIMES: Mapping[str, Any] = {
    "add_ons": [],
    "payers": [],
    "conflicts": [],
    "refused_claims": [],
    "in_doubt": [],
    "incomplete": [],
    "unreadable": {},
    "unreadable_limits": [],
}
_CURRENT = ("current_period_start", "current_period_end")
_HIDDEN = {"pk", "sk", "gsi2pk", "kind", "inputs", "workspace_id", "actor"}


def list_billing(store: Store, *, now: datetime | None = None) -> Iterator[dict[str, Any]]:
    """Every billing record, one dict each; customers without a workspace have `workspace` None. Without `now` their
    current periods are as the newest events said."""
    return (_with_subscriptions(store, record, now) for record in store.every("billing"))


def show_billing(store: Store, workspace_id: str, *, now: datetime) -> dict[str, Any] | None:
    """One workspace's billing record with its own limits laid over; None when Stripe has reported nothing of it."""
    wanted = [keys.billing(workspace_id), keys.limits(workspace_id)]
    record, own = map(store.batch_get(Table.RECORDS, wanted, consistent=True).get, wanted)
    if record is None:
        return None
    rules = own_limits.rules(record.get("limit_rules"), own, now)
    limits = {meter: rule.get("included") for meter, rule in rules.items()}
    return {**_with_subscriptions(store, record, now), "limits": limits, "limit_rules": rules}


def list_objects(store: Store) -> Iterator[dict[str, Any]]:
    """Every Stripe object known, as its register resolves it. Scans."""
    return map(object_of, store.scan(Table.RECORDS, kind="register"))


def explain_object(store: Store, object_id: str) -> Iterator[dict[str, Any]]:
    """Why an object is in its state, once a scope that knows the id, with the claims of its customer to workspaces.
    Scans."""
    for item in store.scan(Table.RECORDS, kind="register"):
        if object_id in {item.get("object_id"), item.get("customer_id") if "object_id" not in item else None}:
            yield explain_register(store, item, object_id)


def explain_register(store: Store, item: Item, object_id: str) -> dict[str, Any]:
    """Why the object of one register is in its state, with the claims of its customer to workspaces."""
    told = {"object": item["object_type"], "id": object_id, **explain(register_of(item))}
    return {**told, "claims": _claims(store, item)}


def list_conflicts(store: Store) -> Iterator[dict[str, Any]]:
    """Customers whose claim to a workspace does not count: `reason` is `conflict` (a buyer names a workspace that has a
    customer) or `refused` (an account or mode that may not name workspaces)."""
    for record in store.every("billing"):
        for one in record.get("conflicts", ()):
            yield {"workspace": record["workspace_id"], "reason": "conflict", **_customer(one["customer"]), **_why(one)}
        for workspace_id in record.get("refused_claims", ()):
            for name in record["customers"]:
                yield {"workspace": workspace_id, "reason": "refused", **_customer(name)}


def scopes_of(store: Store, customer_id: str) -> list[Scope]:
    """The accounts and modes in which a customer of that id is known. Scans."""
    found = {
        Scope(account=str(item["account"]), livemode=bool(item["livemode"]))
        for item in store.scan(Table.RECORDS, kind="register")
        if item.get("customer_id") == customer_id
        or (item["object_type"] == "customer" and item.get("object_id") == customer_id)
    }
    return sorted(found, key=str)


def _why(conflict: Item) -> dict[str, Any]:
    return {name: conflict[name] for name in ("claimed_by", "object", "created")}


def _customer(name: str) -> dict[str, Any]:
    account, mode, customer = name.split("/", 2)
    return {"customer": customer, "account": account, "livemode": mode == "live"}


def _claims(store: Store, register: Item) -> list[dict[str, Any]]:
    """Claims on the customer of an object, the best first, each with its effect."""
    owner = register.get("object_id") if register["object_type"] == "customer" else register.get("customer_id")
    if not owner:
        return []
    scope = Scope(account=str(register["account"]), livemode=bool(register["livemode"]))
    link = store.get(Table.RECORDS, keys.link(scope.account, scope.livemode, str(owner)))
    claims = claims_of(link)
    serves = served(claims, trusted=bool((link or {}).get("trusted", True)))
    found = store.batch_get(Table.RECORDS, {keys.billing(id_) for id_ in serves.homes if id_})
    contested = {
        record["workspace_id"]
        for record in found.values()
        if any(one["customer"] == customer_name(scope, str(owner)) for one in record.get("conflicts", ()))
    }
    return [_claim(claim, serves, contested) for claim in sorted(claims.values())]


def _claim(claim: Claim, serves: Served, contested: Container[str]) -> dict[str, Any]:
    own = serves.subscriptions.get(claim.object_id) == claim.workspace_id
    decides = own or claim.workspace_id == serves.workspace_id
    outcome = "conflict" if decides and claim.workspace_id in contested else "counts" if decides else "does not count"
    return {
        "workspace": claim.workspace_id,
        "rank": claim.rank,
        "written_by": WRITERS.get(claim.rank, "unknown"),
        "object": claim.object_id,
        "created": claim.created,
        "decides": decides,
        "outcome": outcome,
    }


def billing_of(record: Item) -> dict[str, Any]:
    """A record as people and scripts read it: its own fields and the ids of its customers."""
    return {
        "workspace": record["workspace_id"],
        **_NULLS,
        **_SOMETIMES,
        **{name: value for name, value in record.items() if name not in _HIDDEN},
        "customers": sorted({name.rpartition("/")[2] for name in record["customers"]}),
    }


def with_parts(store: Store, record: Item, use: Callable[[Inputs], T]) -> T:
    """`use` of what a record was folded from; parts of large customers are read when they are needed.
    `PartsNeeded` when one is newer than the record."""
    known: dict[Key, Item | None] = {}
    while True:
        try:
            return use(inputs_of(record, known))
        except PartsNeeded as error:
            if error.keys <= known.keys():
                raise
            found = store.batch_get(Table.RECORDS, error.keys, consistent=True)
            known |= {key: found.get(key) for key in error.keys}


def _with_subscriptions(store: Store, record: Item, now: datetime | None) -> dict[str, Any]:
    """A record with its subscriptions, read again as long as it changes meanwhile."""
    newest = [record]

    def attempt() -> dict[str, Any]:
        try:
            return with_current(newest[0], with_parts(store, newest[0], partial(_subscriptions, now=now)))
        except PartsNeeded:
            newest[:] = [store.get(Table.RECORDS, Key(record["pk"], record["sk"]), consistent=True) or record]
            raise

    return retrying(attempt, on=PartsNeeded)


def with_current(record: Item, subscriptions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`billing_of`, with the subscriptions and the current period that the effective one has in them."""
    told = billing_of(record)
    bounds = next((one for one in subscriptions if one["id"] == told["subscription"]), {})
    return {**told, **{name: bounds.get(name, told[name]) for name in _CURRENT}, "subscriptions": list(subscriptions)}


def _subscriptions(inputs: Inputs, now: datetime | None) -> list[dict[str, Any]]:
    read_whole(inputs)
    views = {name.rpartition("/")[2]: view for name, view in admitted(inputs).items()}
    return [
        subscription_of(id_, customer, view, now=now)
        for customer, owned in sorted(views.items())
        for id_, view in sorted(owned.items())
        if view["object"] == "subscription"
    ]


def subscription_of(id_: str, customer: str, view: View, *, now: datetime | None) -> dict[str, Any]:
    """From a record's view of it, or the same that its register makes. The period is the one that the newest event
    said, or that followed it by `now`: a year goes on after its monthly item was removed, and no event says when."""
    start, end = current_period(view)
    if now and end is not None and end <= epoch(now):
        later = (bounds for bounds in view["periods"] if end <= bounds[0] <= epoch(now))
        start, end = max(later, default=(start, end))
    told = {name: view.get(name) for name in ("status", "cancel_at", "canceled_at", "latest_invoice", "trial_end")}
    return {
        "id": id_,
        "customer": customer,
        **told,
        "cancel_at_period_end": bool(view.get("cancel_at_period_end")),
        **dict(zip(_CURRENT, (start, end), strict=True)),
        "items": [{name: item.get(name) for name in ("id", "price", "quantity")} for item in view.get("items", ())],
    }
