"""What a billing record is folded from: the views of its customers and what they use of the catalog, and as kept.

A record holds its inputs compressed, so that it can be folded again; beside a product or price stands who uses it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nilometer.domain.billing.group import Alike, Known, View, Views, alike
from nilometer.domain.billing.record.parts import PARTED, PartedViews, PartPlace, PartsNeeded, as_text, parted, size_of
from nilometer.domain.billing.record.stored import closed, opened
from nilometer.domain.billing.risk import KEPT, surplus
from nilometer.domain.store import compressed, keys
from nilometer.domain.store.lists import SETTLES
from nilometer.domain.store.segments import HEADER
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Item, Key
from nilometer.domain.stripe.event import FEATURES, SUMMARY, Scope
from nilometer.domain.stripe.registers.register import register_of
from nilometer.domain.stripe.registers.resolve import resolve

CATALOG = frozenset({"product", "price", FEATURES})
"""The types of objects that records are folded with and that belong to no customer."""

ENDED = frozenset({"canceled", "incomplete_expired"})
ENDED_KEPT = 5  # ended subscriptions that a customer's part remembers: the newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a record is folded from.

    `customers`: "account/mode/customer" → its views. `catalog`: "account/mode/product/id" (or price) → its view
    with the `version` of its register (0: not known yet). Each view carries the version of its register. `claims`:
    customer → rank, time and object of what links it to this workspace. `refused`: customer → workspaces that it names
    without the right to. `large_since`: customer → since when (RFC 3339) it is worth parts that it does not have yet.
    """

    customers: Mapping[str, Views] = field(default_factory=dict)
    catalog: Mapping[str, View] = field(default_factory=dict)
    claims: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    large_since: Mapping[str, str] = field(default_factory=dict)


def catalog_name(scope: Scope | str, object_type: str, object_id: str) -> str:
    """`account/mode/type/id`: the name of a product, price or feature list in `Inputs.catalog`."""
    return f"{scope}/{object_type}/{object_id}"


def customer_name(scope: Scope, customer_id: str) -> str:
    """`account/mode/customer`: the name of a customer in `Inputs.customers`, `claims` and `refused`."""
    return f"{scope}/{customer_id}"


def with_views(inputs: Inputs, customer: str, views: Mapping[str, View | None]) -> Inputs:
    """`views` replace the customer's views of the same objects; None removes."""
    return with_part(inputs, customer, changed(inputs.customers.get(customer, {}), views))


def with_part(
    inputs: Inputs, customer: str, part: Views, *, claim: Sequence[Any] | None = None, refused: Sequence[str] = ()
) -> Inputs:
    """`part` replaces all views of the customer, as `claim` and `refused` do what was said of it."""
    return replace(
        inputs,
        customers={**inputs.customers, customer: part},
        claims=_said(inputs.claims, customer, list(claim or ())),
        refused=_said(inputs.refused, customer, list(refused)),
    )


def _said(known: Mapping[str, Sequence[Any]], customer: str, said: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
    """Without an entry for a customer of whom nothing is said."""
    others = {name: one for name, one in known.items() if name != customer}
    return {**others, customer: said} if said else others


def with_catalog(inputs: Inputs, entries: Mapping[str, View]) -> Inputs:
    """The newest version of each entry stays, so that a slow reader cannot bring an older one back."""
    known = dict(inputs.catalog)
    for name, entry in entries.items():
        if name not in known or int(known[name]["version"]) < int(entry["version"]):
            known[name] = entry
    return replace(inputs, catalog=known)


def without_customer(inputs: Inputs, customer: str) -> Inputs:
    """As if it had never been here; what it used of the catalog stays known."""
    others = {name: views for name, views in inputs.customers.items() if name != customer}
    return replace(
        inputs,
        customers=others,
        claims=_said(inputs.claims, customer, ()),
        refused=_said(inputs.refused, customer, ()),
        large_since={name: since for name, since in inputs.large_since.items() if name != customer},
    )


def catalog_names(inputs: Inputs) -> set[str]:
    """What the customers use of the catalog, by its names there."""
    return {
        used
        for name, views in inputs.customers.items()
        for view in _unlike(views)
        for used in used_names(name.rpartition("/")[0], view)
    }


def used_names(scope: Scope | str, view: Mapping[str, Any]) -> Iterator[str]:
    """The products and prices of a subscription; the features where a customer has any."""
    if view["object"] == "subscription":
        items = view.get("items", ())
        yield from (
            catalog_name(scope, key, item[key]) for item in items for key in ("product", "price") if key in item
        )
    elif view["object"] == SUMMARY and view["features"]:
        yield catalog_name(scope, FEATURES, FEATURES)


def features_of(view: View | None) -> Sequence[str]:
    """The features of a customer's summary of entitlements; empty for any other view."""
    return view["features"] if view and view["object"] == SUMMARY else ()


def catalog_key(name: str) -> Key:
    """The register of `account/mode/product/id`, of a price, or of the features."""
    account, mode, object_type, object_id = name.split("/", 3)
    return keys.register(account, mode == "live", object_type, object_id, None)


def loose(views: Views) -> Views:
    """All but the plain subscriptions of a large customer, which are in parts."""
    return views.loose if type(views) is PartedViews else views


def subscriptions(customer: str, views: Views) -> Iterator[Alike]:
    """All subscriptions of a customer, together where they are alike."""
    return alike(customer, loose(views), _summed(views))


def _unlike(views: Views) -> Iterator[View]:
    """The loose views, and one of each kind of those in parts."""
    yield from loose(views).values()
    yield from (one.view for one in _summed(views))


def _summed(views: Views) -> Iterable[Alike]:
    return views.alikes if type(views) is PartedViews else ()


def changed(held: Views, views: Mapping[str, View | None]) -> Views:
    """`views` replace those of the same objects; None removes. Without the ended subscriptions and the signs of risk
    that are too many.

    An ended subscription stays ended, so the newest of them are the same in any order.
    """
    made = _changed(held, views)
    kept = loose(made)
    ended = [(int(v.get("created") or 0), n) for n, v in kept.items() if v.get("status") in ENDED]
    dropped = [name for _, name in sorted(ended, reverse=True)[ENDED_KEPT:]]
    dropped += surplus(kept.items()) if len(kept) > KEPT else ()
    return _changed(made, dict.fromkeys(dropped)) if dropped else made


def _changed(held: Views, views: Mapping[str, View | None]) -> Views:
    if type(held) is PartedViews:
        return held.changed(views)
    return {name: view for name, view in {**held, **views}.items() if view is not None}


def home(scope: Scope, customer_id: str, workspace_id: str | None) -> Key:
    """Where a customer's billing is: in its workspace's record, or, unlinked, in one of its own."""
    if workspace_id:
        return keys.billing(workspace_id)
    return Key(keys.customer(scope.account, scope.livemode, customer_id), "BILLING")


def inputs_of(record: Item | None, known: Known | None = None) -> Inputs:
    """What a stored record was folded from; empty when there is no record. `known` may have parts of it."""
    if record is None:
        return Inputs()
    content = record["inputs"]
    document = opened(content) if content.startswith(HEADER) else json.loads(compressed.unpack(content))
    for views in _large(document["customers"]) if known else ():
        views.read(known or {})
    return Inputs(
        customers=document["customers"],
        catalog=document["catalog"],
        claims=document.get("claims", {}),
        refused=document.get("refused", {}),
        large_since=document.get("large_since", {}),
    )


def _large(customers: Mapping[str, Views]) -> Iterator[PartedViews]:
    return (views for views in customers.values() if type(views) is PartedViews)


def places(views: Views) -> Mapping[Key, PartPlace]:
    """Of the parts of a customer."""
    return views.places if type(views) is PartedViews else {}


def read_whole(inputs: Inputs) -> None:
    """`PartsNeeded` with the keys of all parts that are not read."""
    if unread := [key for views in _large(inputs.customers) for key in views.unread]:
        raise PartsNeeded(unread)


def has_base(views: Views, subscription: str | None) -> bool:
    """Whether a record's base, the newest of those that are alike, is of this customer. Reads no part."""
    return subscription in loose(views) or any(one.id == subscription for one in _summed(views))


def is_deleted(views: Views) -> bool:
    """Whether these views of a customer say that Stripe deleted it."""
    return any(view["object"] == "customer" and view.get("deleted") for view in loose(views).values())


def closed_views(views: Views) -> Views:
    """Stripe cancels the subscriptions of a customer that it deletes: one whose event is missing is in doubt."""
    if not is_deleted(views):
        return views
    closed = {"status": "canceled", "doubt": True}
    return {name: {**view, **closed} if _is_orphan(view) else view for name, view in views.items()}


def _is_orphan(view: View) -> bool:
    return view["object"] == "subscription" and view.get("status") not in ENDED


def orphans(views: Views) -> list[str]:
    """Subscriptions of a deleted customer that nobody has said to be ended: Stripe must be asked for them."""
    return sorted(name for name, view in views.items() if _is_orphan(view)) if is_deleted(views) else []


def in_parts(inputs: Inputs, customer: str, before: Mapping[Key, PartPlace], now: str | None) -> Inputs:
    """With the customer in as many parts as it needs; `before` are those that are stored.

    The first are made when it has been large for a day at `now`: a release that does not read parts has gone by then,
    else what it writes has no `large_since`. Without `now` they are made at once.
    """
    views = inputs.customers[customer]
    large = {name: since for name, since in inputs.large_since.items() if name != customer}
    if not before and len(views) < PARTED:
        return replace(inputs, large_since=large) if inputs.large_since else inputs
    since = inputs.large_since.get(customer, now)
    if now and since and not before and parse_rfc3339(now) - parse_rfc3339(since) < SETTLES:
        return replace(inputs, large_since={**large, customer: since})
    made = parted(customer, views, before, size_of(sum(map(len, inputs.customers.values()))))
    return replace(inputs, customers={**inputs.customers, customer: made}, large_since=large)


def packed(inputs: Inputs) -> bytes:
    """What was folded: compressed, so that most records cost one kilobyte's write."""
    document: dict[str, Any] = {"catalog": inputs.catalog}
    document |= {"claims": inputs.claims} if inputs.claims else {}
    document |= {"refused": inputs.refused} if inputs.refused else {}
    document |= {"large_since": inputs.large_since} if inputs.large_since else {}
    if any(_large(inputs.customers)):
        return closed(inputs.customers, document)
    return compressed.pack_record(as_text({"customers": inputs.customers, **document}).encode())


def catalog_entry(register: Item | None) -> dict[str, Any]:
    """What a record keeps of a product, a price or the features; version 0 when no event of it has come yet."""
    resolution = resolve(register_of(register))
    if register is None or resolution is None:
        return {"version": 0}
    kept = {name: resolution.state[name] for name in ("metadata", "name", "deleted") if name in resolution.state}
    with_limits = {key: told for key, told in resolution.state.get("features", {}).items() if told}
    kept |= {"features": with_limits} if with_limits else {}
    return {**kept, "version": register["version"]}


def use_item(catalog: Key, record: Key) -> Item:
    """Says, beside a product or price, that `record` uses it: so that its change finds all that it concerns."""
    return {
        "pk": catalog.pk,
        "sk": f"USED#{keys.part(record.pk)}",
        "kind": "use",
        "version": 1,
        "record_pk": record.pk,
        "record_sk": record.sk,
    }
