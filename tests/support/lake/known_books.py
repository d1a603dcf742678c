"""What the figures of a company must be, from the snapshots of its objects in their true order, with fractions.

The rules are those of docs/metrics.md, written a second time, without SQL, digests, registers or tables.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from math import floor
from typing import Any

Object = Mapping[str, Any]
Told = tuple[int, int, Object]
"""(second, true order, snapshot); a deleted object's snapshot says so."""

_MONTHS = {"month": Fraction(1), "year": Fraction(1, 12), "week": Fraction(52, 12), "day": Fraction(365, 12)}


@dataclass(frozen=True, slots=True)
class KnownMovement:
    """One change of a customer's recurring revenue."""

    moment: int
    customer: str
    currency: str
    change: int
    after: int
    name: str


class KnownBooks:
    """Of everything that was told; `until` cuts off what happened later."""

    def __init__(self, told: Iterable[Told], until: int) -> None:
        self.until = until
        self._told: dict[str, list[Told]] = defaultdict(list)
        for one in sorted(told, key=lambda one: one[:2]):
            self._told[one[2]["id"]].append(one)
        self.movements = list(self._movements())

    # ------------------------------------------------------------------ figures

    def moved(self) -> Counter[tuple[date, str, str]]:
        """By month, currency and name."""
        return _summed(((_month(m.moment), m.currency, m.name), m.change) for m in self.movements)

    def recurring(self, ends: int) -> Counter[str]:
        """At the end of a day or month, by currency."""
        return _summed((m.currency, m.change) for m in self.movements if m.moment < ends)

    def customers(self, ends: int) -> Counter[tuple[str, str]]:
        """The recurring revenue of each (customer, currency)."""
        return _summed(((m.customer, m.currency), m.change) for m in self.movements if m.moment < ends)

    def lost(self, begins: int, ends: int) -> Counter[str]:
        """By currency: churn and contraction."""
        return _summed(
            (m.currency, -m.change)
            for m in self.movements
            if begins <= m.moment < ends and m.name in {"churn", "contraction"}
        )

    def began(self) -> dict[tuple[str, str], date]:
        """The month in which each (customer, currency) began."""
        return {(m.customer, m.currency): _month(m.moment) for m in self.movements if m.name == "new"}

    def revenue(self) -> Counter[tuple[date, str, str]]:
        """By month, currency and kind: paid, refunded, disputed, fees."""
        return _summed(
            ((_month(moment), currency, kind), amount)
            for moment, currency, kind, amount in self._money()
            if moment < self.until
        )

    def owed(self, ends: int) -> Counter[tuple[str, str]]:
        """By currency: owed, overdue, invoices."""
        found: Counter[tuple[str, str]] = Counter()
        for invoice in self._of("invoice"):
            bill = self._as_of(invoice, ends)
            if bill is None or bill["status"] != "open" or not bill["amount_remaining"]:
                continue
            found[bill["currency"], "owed"] += bill["amount_remaining"]
            found[bill["currency"], "invoices"] += 1
            if bill["due_date"] < ends:
                found[bill["currency"], "overdue"] += bill["amount_remaining"]
        return found

    def used(self) -> Counter[tuple[date, str, str]]:
        """By month, currency and price: what was invoiced for metered prices, less discounts."""
        metered = {one for one in self._of("price") if self._last(one)["recurring"].get("usage_type") == "metered"}
        found: Counter[tuple[date, str, str]] = Counter()
        for invoice in self._of("invoice"):
            bill = self._last(invoice)
            at = bill["status_transitions"]["finalized_at"]
            if at is None or at >= self.until or bill["status"] == "void":
                continue
            for line in bill["lines"]["data"]:
                price = line["pricing"]["price_details"]["price"]
                if price in metered:
                    off = sum(one["amount"] for one in line.get("discount_amounts") or ())
                    found[_month(at), line["currency"], price] += line["amount"] - off
        return found

    # ------------------------------------------------------------------ recurring revenue

    def _movements(self) -> Iterator[KnownMovement]:
        steps: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
        for subscription in self._of("subscription"):
            before = 0
            for moment in sorted(self._moments(subscription)):
                owner, currency, now = self._monthly(subscription, moment)
                steps[owner, currency][moment] += now - before
                before = now
        for (owner, currency), changes in steps.items():
            after, known = 0, False
            for moment, change in sorted(changes.items()):
                if change:
                    before, after = after, after + change
                    yield KnownMovement(moment, owner, currency, change, after, _name(before, after, known))
                    known = True

    def _states(self, subscription: str) -> list[tuple[int, Object]]:
        """From when on; nothing comes after its end."""
        seconds: dict[int, Object] = {}
        for second, _, snapshot in self._told[subscription]:
            seconds[second] = snapshot
            if snapshot["status"] in {"canceled", "incomplete_expired"}:
                break
        found = sorted(seconds.items(), key=lambda one: one[0])
        first, state = found[0]
        return [(min(first, state["created"]), state), *found[1:]]

    def _moments(self, subscription: str) -> set[int]:
        found: set[int | None] = set()
        for begins, state in self._states(subscription):
            pause = state.get("pause_collection") or {}
            found |= {begins, state.get("trial_end"), state.get("ended_at"), pause.get("resumes_at")}
        for discount in self._discounts(subscription):
            found |= {discount["start"], discount["end"], discount.get("gone")}
        begins = self._states(subscription)[0][0]
        return {one for one in found if one is not None and begins <= one < self.until}

    def _monthly(self, subscription: str, moment: int) -> tuple[str, str, int]:
        states = self._states(subscription)
        state = [one for begins, one in states if begins <= moment][-1]
        owner, currency = state["customer"], state["currency"]
        if not _counts(state, moment):
            return owner, currency, 0
        discounts = [one for one in self._discounts(subscription) if _is_active(one, moment)]
        own = any(one["subscription"] and not one["subscription_item"] for one in discounts)
        applied = [one for one in discounts if one["subscription"] or not own]
        return owner, currency, _after_discounts(state["items"]["data"], applied)

    def _discounts(self, subscription: str) -> Iterator[dict[str, Any]]:
        """Those that are taken off more than once, with the terms of their coupon."""
        owner = self._told[subscription][-1][2]["customer"]
        for one in self._of("discount"):
            snapshots = [snapshot for *_, snapshot in self._told[one]]
            made = snapshots[0]
            if made["subscription"] != subscription and (made["subscription"] or made["customer"] != owner):
                continue
            coupon = self._told.get(made["source"]["coupon"])
            if coupon and coupon[-1][2]["duration"] != "once":
                gone = [second for second, _, snapshot in self._told[one] if snapshot.get("deleted")]
                yield {**made, "coupon": coupon[-1][2], "gone": min(gone, default=None)}

    # ------------------------------------------------------------------ money

    def _money(self) -> Iterator[tuple[int, str, str, int]]:
        """(moment, currency, kind, amount)."""
        for one in self._of("invoice"):
            bill = self._last(one)
            if bill["status"] == "paid":
                yield bill["status_transitions"]["paid_at"], bill["currency"], "paid", bill["amount_paid"]
        for one in self._of("refund"):
            refund = self._last(one)
            if refund["status"] != "failed":
                yield refund["created"], refund["currency"], "refunded", refund["amount"]
        for one in self._of("dispute"):
            dispute = self._last(one)
            if dispute["status"] != "won":
                yield dispute["created"], dispute["currency"], "disputed", dispute["amount"]
        for one in self._of("balance_transaction"):
            entry = self._last(one)
            yield entry["created"], entry["currency"], "fees", entry["fee"]

    # ------------------------------------------------------------------ objects

    def _of(self, kind: str) -> list[str]:
        return [id_ for id_, told in self._told.items() if told[-1][2]["object"] == kind]

    def _last(self, id_: str) -> Object:
        return self._told[id_][-1][2]

    def _as_of(self, id_: str, ends: int) -> Object | None:
        """The last that happened before; nothing before anything did."""
        return next((snapshot for second, _, snapshot in reversed(self._told[id_]) if second < ends), None)


def _after_discounts(items: list[Object], discounts: list[dict[str, Any]]) -> int:
    """Of all items together: percents one after the other, then amounts; those of the whole are shared."""
    found = []
    for item in items:
        recurring = item["price"]["recurring"]
        mine = [one for one in discounts if one["subscription_item"] in {None, item["id"]}]
        monthly = Fraction(item["price"]["unit_amount"] * item.get("quantity", 1))
        monthly = Fraction(0) if recurring.get("usage_type") == "metered" else monthly
        per_month = _MONTHS[recurring["interval"]] / recurring["interval_count"]
        for one in mine:
            monthly *= 1 - Fraction(str(one["coupon"].get("percent_off") or 0)) / 100
        off = sum(one["coupon"].get("amount_off") or 0 for one in mine if one["subscription_item"])
        found.append(max(0, _rounded(monthly * per_month) - _rounded(off * per_month)))
    whole = sum(one["coupon"].get("amount_off") or 0 for one in discounts if not one["subscription_item"])
    first = items[0]["price"]["recurring"]
    return max(0, sum(found) - _rounded(whole * _MONTHS[first["interval"]] / first["interval_count"]))


def _counts(state: Object, moment: int) -> bool:
    """Whether it is paid for: active or past due, no trial any more, not paused without a bill."""
    pause = state.get("pause_collection") or {}
    paused = pause.get("behavior") in {"void", "mark_uncollectible"} and moment < (pause.get("resumes_at") or 1 << 40)
    ended = state["status"] == "canceled" and moment >= state["ended_at"]
    runs = state["status"] in {"active", "past_due", "canceled"} and not ended
    return runs and not paused and moment >= (state.get("trial_end") or 0)


def _is_active(discount: Mapping[str, Any], moment: int) -> bool:
    ends = [one for one in (discount["end"], discount["gone"]) if one is not None]
    return bool(discount["start"] <= moment < min(ends, default=1 << 40))


def _name(before: int, after: int, known: bool) -> str:
    if before == 0:
        return "reactivation" if known else "new"
    if after == 0:
        return "churn"
    return "expansion" if after > before else "contraction"


def _rounded(amount: Fraction | int) -> int:
    return floor(Fraction(amount) + Fraction(1, 2))


def _month(second: int) -> date:
    return datetime.fromtimestamp(second, UTC).date().replace(day=1)


def _summed(pairs: Iterable[tuple[Any, int]]) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for key, amount in pairs:
        found[key] += amount
    return Counter({key: amount for key, amount in found.items() if amount})
