"""The billing record of a workspace: a fold of what its customers' registers and the catalog say.

Nothing is patched and nothing is guarded by a time of the workspace: `fold` sees all views and says what they come
to, so the order in which they came cannot matter. docs/billing.md describes every field.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from heapq import nsmallest
from operator import attrgetter, itemgetter
from typing import Any

from nilometer.domain.billing.group import (
    ACCESS,
    NEWEST_PERIODS,
    Alike,
    Bounds,
    View,
    Views,
    current_period,
    newest_periods,
)
from nilometer.domain.billing.link import NAMED, admitted, conflicts, is_weak
from nilometer.domain.billing.record.inputs import (
    ENDED,
    Inputs,
    closed_views,
    is_deleted,
    loose,
    packed,
    subscriptions,
)
from nilometer.domain.billing.record.parts import PartedViews
from nilometer.domain.billing.risk import RISKS, risk
from nilometer.domain.limits import plan as plan_limits
from nilometer.domain.store.keys import listing
from nilometer.domain.store.writes import Item, Key
from nilometer.domain.stripe.event import FEATURES, SUMMARY

UNKNOWN = "unknown"
"""The status of a subscription whose own cannot be read."""

_STANDING = {"active": 6, "trialing": 6, "past_due": 5, "paused": 4, "unpaid": 3, "incomplete": 2}
_OWING = {"past_due", "unpaid"}
_NO = {"false", "no", "0", ""}


def fold(inputs: Inputs) -> dict[str, Any]:
    """The record's own fields, from scratch."""
    customers = admitted(inputs)
    scope = _scope(customers)
    folded = _Fold(
        customers={name: closed_views(views) for name, views in customers.items() if name.startswith(f"{scope}/")},
        catalog={n.removeprefix(f"{scope}/"): v for n, v in inputs.catalog.items() if n.startswith(f"{scope}/")},
        weak=frozenset(name for name in customers if is_weak(inputs, name)),
    )
    refused = sorted({name for named in inputs.refused.values() for name in named})
    said = {"conflicts": conflicts(inputs), "refused_claims": refused}
    return {
        **folded.record(),
        "mode": scope.rpartition("/")[2] or None,
        **{name: value for name, value in said.items() if value},
    }


def read_parts(inputs: Inputs) -> None:
    """Reads what `fold` will read of parts: `PartsNeeded` with the keys of those that are not here."""
    for views in inputs.customers.values():
        if type(views) is PartedViews:
            closed_views(views)
            _ = views.alikes
            for view in views.loose.values():
                if view["object"] == "invoice":
                    _on_its_way(view, views)


def record_item(
    key: Key, inputs: Inputs, *, workspace_id: str | None, version: int, cause: str, updated_at: str
) -> Item:
    """The folded fields without those that are None, and `inputs`, compressed, to fold it again from."""
    return {
        "pk": key.pk,
        "sk": key.sk,
        "kind": "billing",
        "version": version,
        "updated_at": updated_at,
        "cause": cause,
        "actor": None,
        **listing("billing"),
        "workspace_id": workspace_id,
        **{name: value for name, value in fold(inputs).items() if value is not None},
        "customers": sorted(admitted(inputs)),
        "inputs": packed(inputs),
    }


def standing(subscription: View) -> tuple[int, int]:
    """Orders subscriptions by what they give. A status that we do not know ranks below incomplete."""
    status = str(subscription.get("status"))
    return (0 if status in ENDED else _STANDING.get(status, 1)), int(subscription.get("created") or 0)


class _Terms:
    """What the catalog says of an item, read once a fold however many items are of the same product and price."""

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self.metadata = metadata
        self.is_addon = metadata.get("addon", "").lower() not in _NO
        self.limits = plan_limits.limits_of(metadata)
        self.problems = plan_limits.problems(metadata)


class _Fold:
    """`weak` are the customers that a buyer alone has linked."""

    def __init__(self, customers: Mapping[str, Views], catalog: Mapping[str, View], weak: Set[str]) -> None:
        self.customers = customers
        self.catalog = catalog
        self.weak = weak
        self._terms_of: dict[Any, _Terms] = {}
        self._subscriptions = [one for name, views in customers.items() for one in subscriptions(name, views)]
        self._by_kind: dict[str, list[tuple[str, View]]] = {}
        for views in map(loose, customers.values()):
            for name, view in views.items():
                self._by_kind.setdefault(str(view["object"]), []).append((name, view))

    def record(self) -> dict[str, Any]:
        base = max(self._subscriptions, key=self._preference, default=None)
        effective = (base.id, base.view) if base else None
        risks = [named for kind in RISKS for named in self._of(kind)]
        giving = [one for one in self._subscriptions if one is base or one.living]
        return {
            **_status(effective),
            **self._plan(effective, giving),
            **_cancellation(effective),
            **_trial(effective),
            **_periods(effective, self._every_period()),
            **self._payments(effective, base.customer if base else ""),
            "features": self._features(),
            "risk": risk(risks) if risks else None,
            **self._doubts(effective, giving),
        }

    def _every_period(self) -> Iterator[Sequence[Bounds]]:
        """Those that may count, ascending: of each customer in parts once, else of subscriptions that are alike."""
        yield from (one.periods for one in self._subscriptions)
        yield from (views.periods for views in self.customers.values() if type(views) is PartedViews)

    def _doubts(self, effective: tuple[str, View] | None, giving: Sequence[Alike]) -> dict[str, Any]:
        """What an operator should know; each field is there only when there is something to say."""
        views = {name: view for owned in self.customers.values() for name, view in loose(owned).items()}
        payers = sorted({one.customer for one in giving})
        said = {
            "add_ons": _add_ons(effective[0], giving) if effective else [],
            "payers": payers if len(payers) > 1 else [],
            "in_doubt": sorted(name for name, view in views.items() if view.get("doubt")),
            "incomplete": sorted(name for name, view in views.items() if view.get("has_more")),
            "unreadable": {
                name: list(views[name]["unreadable"]) for name in sorted(views) if "unreadable" in views[name]
            },
        }
        return {name: value for name, value in said.items() if value}

    def _of(self, kind: str) -> list[tuple[str, View]]:
        return sorted(self._by_kind.get(kind, ()), key=itemgetter(0))

    def _preference(self, one: Alike) -> tuple[bool, bool, bool, int, bool, int, str]:
        """The base of what the workspace has, as docs/billing.md says how it is chosen.

        Living; of a customer that the platform linked; no add-on; by status; with a plan's name; the newer.
        """
        rank, created = standing(one.view)
        living, weak = one.living, one.customer in self.weak
        terms = [self._terms(item) for item in one.view.get("items", ())]
        addon = bool(terms) and all(told.is_addon for told in terms)
        named = living and any(told.metadata.get("plan") for told in terms)
        return living, living and not weak, living and not addon, rank, named, created, one.id

    def _plan(self, effective: tuple[str, View] | None, giving: Sequence[Alike]) -> dict[str, Any]:
        """Limits and seats of all that give something; the name of the base."""
        items = list(effective[1].get("items", ())) if effective else []
        metadata = [self._terms(item).metadata for item in items]
        rules = self._limits(giving)
        every = (self._terms(item) for one in giving for item in one.view.get("items", ()))
        told = {id(terms): terms for terms in (*every, *map(_Terms, self._entitling()))}
        unread = sorted({name for one in told.values() for name in one.problems})
        return {
            "plan": next((told["plan"] for told in metadata if told.get("plan")), self._name(items)),
            "seats": self._seats(items, giving) if items else None,
            "limits": {meter: plan_limits.amount_of(rule) for meter, rule in rules.items()},
            "limit_rules": rules,
            **({"unreadable_limits": unread} if unread else {}),
        }

    def _seats(self, items: Sequence[View], giving: Sequence[Alike]) -> int:
        """The base's marked items, else its first, and the marked ones of add-ons."""
        every = sum(
            quantity
            for one in giving
            for item, quantity in zip(one.view.get("items", ()), one.seats, strict=True)
            if self._marked(item)
        )
        return every if any(map(self._marked, items)) else every + int(items[0].get("quantity") or 0)

    def _marked(self, item: View) -> bool:
        return bool(self._terms(item).metadata.get("seats"))

    def _terms(self, item: View) -> _Terms:
        """Product, then price: as registered, or as the subscription's snapshot showed the price."""
        price = self._catalog("price", item)
        of_price = price.get("metadata", {}) if price.get("version") else item.get("metadata", {})
        key = (item.get("product"), *of_price.items())
        known = self._terms_of.get(key)
        if known is None:
            product = self._catalog("product", item)
            known = self._terms_of[key] = _Terms({**product.get("metadata", {}), **of_price})
        return known

    def _name(self, items: Sequence[View]) -> str | None:
        if not items:
            return None
        product = self._catalog("product", items[0])
        return product.get("name") or items[0].get("product") or items[0].get("price")

    def _catalog(self, object_type: str, item: View) -> View:
        return self.catalog.get(f"{object_type}/{item.get(object_type)}", {})

    def _limits(self, giving: Sequence[Alike]) -> dict[str, plan_limits.Limit]:
        """By id, because of what does not add up the last one's holds."""
        parts: dict[str, list[plan_limits.Part]] = {}
        for one in sorted(giving, key=attrgetter("last")):
            for item, quantity in zip(one.view.get("items", ()), one.amounts, strict=True):
                for meter, limit in self._terms(item).limits.items():
                    parts.setdefault(meter, []).append((limit, quantity, one.count))
        limits = {meter: plan_limits.total(parts[meter], "plan") for meter in parts}
        return dict(sorted({**limits, **self._entitled()}.items()))

    def _entitled(self) -> dict[str, plan_limits.Limit]:
        """What features bring with them; of one meter they add up."""
        parts: dict[str, list[plan_limits.Part]] = {}
        for told in self._entitling():
            for meter, limit in plan_limits.limits_of(told).items():
                parts.setdefault(meter, []).append((limit, 1, 1))
        return {meter: plan_limits.total(parts[meter], "entitlement") for meter in parts}

    def _entitling(self) -> list[Mapping[str, str]]:
        """The metadata of the customers' features."""
        known = self.catalog.get(f"{FEATURES}/{FEATURES}", {}).get("features", {})
        return [known[feature] for feature in self._features() if feature in known]

    def _payments(self, effective: tuple[str, View] | None, payer: str) -> dict[str, Any]:
        open_invoices = [{"id": id_, **_without_object(view)} for id_, view in self._of("invoice")]
        owners = {id_: views for views in self.customers.values() for id_ in loose(views)}
        unpaid = [one for one in open_invoices if not _on_its_way(one, owners[one["id"]])]
        customers = self._of("customer")
        return {
            "open_invoices": open_invoices,
            "dunning": _dunning(unpaid, {id_ for id_, view in self._of("subscription") if _owes(view)}),
            "delinquent": any(view.get("delinquent") for _, view in customers),
            "payment_method": self._payment_method(effective, payer, customers),
            "scheduled_change": self._scheduled_change(effective),
        }

    def _payment_method(
        self, effective: tuple[str, View] | None, payer: str, customers: Iterable[tuple[str, View]]
    ) -> dict[str, Any] | None:
        """The subscription's own, else the default of its customer, `payer`, else of another one."""
        wanted = [effective[1].get("default_payment_method")] if effective else []
        defaults = ((not payer.endswith(f"/{id_}"), view.get("default_payment_method")) for id_, view in customers)
        wanted += [told for _, told in sorted((other, str(told)) for other, told in defaults if told)]
        known = dict(self._of("payment_method"))
        return next(({"id": id_, **_without_object(known.get(id_, {}))} for id_ in wanted if id_), None)

    def _scheduled_change(self, effective: tuple[str, View] | None) -> dict[str, Any] | None:
        """The next phase of the effective subscription's schedule: after the one that runs, which may have begun within
        the current period."""
        if effective is None:
            return None
        begun = [
            item["current_period_start"] for item in effective[1].get("items", ()) if "current_period_start" in item
        ]
        phases = [
            phase
            for _, view in self._of("subscription_schedule")
            if view.get("subscription") == effective[0]
            for phase in view.get("phases", ())
            if int(phase.get("start") or 0) > max([*begun, view.get("phase_start") or 0])
        ]
        return dict(min(phases, key=lambda phase: int(phase["start"]))) if phases else None

    def _features(self) -> list[str]:
        """Of customers that are not deleted."""
        living = [views for views in self.customers.values() if not is_deleted(views)]
        summaries = [view for views in living for view in loose(views).values() if view["object"] == SUMMARY]
        return sorted({feature for view in summaries for feature in view["features"]})


def _scope(customers: Iterable[str]) -> str:
    """One account and mode only: live before test, the platform before its Connect accounts."""
    scopes = {name.rpartition("/")[0] for name in customers}
    return max(scopes, key=lambda scope: (scope.endswith("/live"), scope.startswith("self/"), scope), default="")


def _status(effective: tuple[str, View] | None) -> dict[str, Any]:
    if effective is None:
        return {"status": "none", "access": "none", "subscription": None, "pause": None, "renews": False}
    id_, view = effective
    status = str(view.get("status") or UNKNOWN)
    return {
        "status": status,
        "access": ACCESS.get(status, "none"),
        "subscription": id_,
        "pause": view.get("pause"),
        "renews": status not in ENDED,
    }


def _cancellation(effective: tuple[str, View] | None) -> dict[str, Any]:
    view = effective[1] if effective else {}
    at_period_end = bool(view.get("cancel_at_period_end"))
    ends = [item["current_period_end"] for item in view.get("items", ()) if "current_period_end" in item]
    return {
        "cancel_at_period_end": at_period_end,
        "cancel_at": view.get("cancel_at") or (max(ends, default=None) if at_period_end else None),
        "canceled_at": view.get("canceled_at"),
        "ended_at": view.get("ended_at"),
    }


def _add_ons(base: str, giving: Iterable[Alike]) -> list[str]:
    """Of more than twenty the first of those that are alike, by id."""
    kinds = [(one.count, [name for name in one.names if name != base]) for one in giving]
    many = sum(count for count, _ in kinds) > NAMED + 1
    return nsmallest(NAMED, (name for _, names in kinds for name in (names[:1] if many else names)))


def _trial(effective: tuple[str, View] | None) -> dict[str, Any]:
    view = effective[1] if effective else {}
    return {"trial_start": view.get("trial_start"), "trial_end": view.get("trial_end")}


def _periods(effective: tuple[str, View] | None, of_all: Iterable[Sequence[Bounds]]) -> dict[str, Any]:
    """The effective subscription's periods; where it has none, the newest of the others, a later start first."""
    own: list[Bounds] = [(start, end) for start, end in effective[1].get("periods", ())] if effective else []
    current = current_period(effective[1]) if effective else (None, None)
    newest = newest_periods(of_all, NEWEST_PERIODS + len(own))
    return {
        "current_period_start": current[0],
        "current_period_end": current[1],
        "periods": [[start, end] for start, end in _beside(tuple(own), tuple(newest))],
    }


@lru_cache(maxsize=32)  # most events change no period
def _beside(own: tuple[Bounds, ...], newest: tuple[Bounds, ...]) -> Sequence[Bounds]:
    """The own periods, and of the newest of the others what none of them takes."""
    others = sorted(set(newest) - set(own))[-NEWEST_PERIODS:]
    return tuple(sorted([*own, *_outside(sorted(own), _pieces(others))]))


def _pieces(periods: Iterable[Bounds]) -> Iterator[Bounds]:
    """Of periods in ascending order: where they overlap, of the one that is greater."""
    running: list[Bounds] = []  # the greatest last
    since = 0
    for one in (*(one for one in periods if one[0] < one[1]), None):
        while running and (one is None or since < one[0]):
            _, end = running[-1]
            until = end if one is None else min(end, one[0])
            if since < until:
                yield since, until
                since = until
            if end <= since:
                running.pop()
        if one:
            since = one[0]
            running.append(one)


def _outside(own: Sequence[Bounds], pieces: Iterable[Bounds]) -> Iterator[Bounds]:
    """The parts of `pieces` that no own period takes; both in ascending order."""
    first, last = (own[0][0], max(end for _, end in own)) if own else (0, 0)
    for since, until in pieces:
        if until <= first or last <= since:
            yield since, until
            continue
        free = since
        for low, high in own:
            if low < high and low < until:
                if free < low:
                    yield free, low
                free = max(free, high)
        if free < until:
            yield free, until


def _on_its_way(invoice: View, views: Views) -> bool:
    """A bank debit takes days: it was tried once, will not be tried again, and its subscription, which is its
    customer's, is still active. `views` are the customer's: of a large one a single part is read."""
    if not invoice.get("attempt_count") or invoice.get("next_payment_attempt"):
        return False
    subscription = views.get(str(invoice.get("subscription")), {})
    return ACCESS.get(str(subscription.get("status"))) == "full"


def _owes(subscription: View) -> bool:
    return subscription.get("status") in _OWING


def _dunning(open_invoices: Iterable[View], owing: Collection[str]) -> dict[str, Any] | None:
    """Of the oldest invoice whose payment failed, or that was sent, fell due and left its subscription past due: how
    often it was tried, when next, and from when grace counts. `owing` are subscriptions that are past due."""
    late = [
        invoice
        for invoice in open_invoices
        if int(invoice.get("attempt_count") or 0) > 0
        or (invoice.get("due_date") and invoice.get("subscription") in owing)
    ]
    if not late:
        return None
    invoice = min(late, key=lambda one: (int(one.get("created") or 0), str(one["id"])))
    tried = int(invoice.get("attempt_count") or 0)
    return {
        "invoice": invoice["id"],
        "attempts": tried,
        "next_attempt": invoice.get("next_payment_attempt"),
        "since": invoice.get("due_date") or invoice.get("finalized_at") or invoice.get("created"),
        "stage": "retrying" if invoice.get("next_payment_attempt") else "exhausted" if tried else "overdue",
    }


def _without_object(view: View) -> dict[str, Any]:
    return {name: value for name, value in view.items() if name not in {"object", "version"}}
