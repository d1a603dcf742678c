"""A company of 24 months at a small Stripe, whose books are known: subscriptions of every kind in three currencies.

In the first year it does only what Stripe's objects still tell later. `world.events` has what was sent, in its true
order; `backfilled` the objects as they were when the second year began.
"""

from __future__ import annotations

import copy
import heapq
import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from nilometer.local.stripe import shapes
from nilometer.local.stripe.world import StripeWorld

START = datetime(2024, 11, 1, tzinfo=UTC)
CONNECTED = datetime(2025, 11, 1, tzinfo=UTC)
END = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CURRENCIES = ("usd", "eur", "jpy")
_LENGTHS = {"day": 1, "week": 7, "month": 30, "year": 365}

Object = dict[str, Any]


class KnownCompany:
    """`customers` of them act once or twice a month, by `seed`."""

    def __init__(self, seed: int, customers: int = 12) -> None:
        self.world = StripeWorld(START, seed=seed)
        self.random = random.Random(seed)
        self.prices: dict[str, list[str]] = {}
        self.metered: dict[str, str] = {}
        self.coupons: dict[str, list[str]] = {}
        self.backfilled: list[Object] = []
        self.entries: list[Object] = []  # balance transactions, which no event tells of
        self._number = itertools.count()
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self._sell()
        for n in range(customers):
            self._at(START + self._days(1, 330 if n % 3 else 640), lambda n=n: self._join(n))  # type: ignore[misc]
        self._at(CONNECTED, self._connect)
        while self._agenda and self._agenda[0][0] < END:
            when, _, act = heapq.heappop(self._agenda)
            self.world.now = max(when, self.world.now + timedelta(seconds=1))
            act()

    # ------------------------------------------------------------------ catalog

    def _sell(self) -> None:
        product = self.world.product("Papyrus", {})
        for currency in CURRENCIES:
            terms = [("month", 1, 4900), ("year", 1, 49_999), ("week", 1, 1_101), ("month", 3, 9_999), ("day", 1, 37)]
            self.prices[currency] = [self._price(product, currency, *one) for one in terms]
            self.metered[currency] = self._price(product, currency, "month", 1, 3, usage_type="metered")
            self.coupons[currency] = [
                self._coupon(percent_off=12.5, duration="forever"),
                self._coupon(percent_off=33.33, duration="repeating", duration_in_months=3),
                self._coupon(percent_off=50, duration="once"),
                self._coupon(amount_off=1_001, currency=currency, duration="forever"),
                self._coupon(amount_off=777, currency=currency, duration="repeating", duration_in_months=2),
            ]

    def _price(self, product: str, currency: str, interval: str, count: int, amount: int, **recurring: Any) -> str:
        made = shapes.price(
            self.world.new_id("price"), product_id=product, unit_amount=amount, interval=interval,
            created=self.world.second, metadata={},
        )  # fmt: skip
        made["recurring"] |= {"interval_count": count, **recurring}
        return self.world.create(made | {"currency": currency})

    def _coupon(self, **terms: Any) -> str:
        made = {"id": self.world.new_id("co"), "object": "coupon", "created": self.world.second, "valid": True, **terms}
        return self.world.create(made)

    # ------------------------------------------------------------------ customers

    def _join(self, n: int) -> None:
        customer = self.world.customer(f"ws_{n}")
        self._subscribe(customer, CURRENCIES[n % 3])
        self._at(self.world.now + self._days(8, 40), lambda: self._act(customer, CURRENCIES[n % 3]))

    def _act(self, customer: str, currency: str) -> None:
        """Something, and again in some weeks."""
        self._at(self.world.now + self._days(8, 40), lambda: self._act(customer, currency))
        living = [
            one["id"]
            for one in self.world.objects.values()
            if one["object"] == "subscription" and one["customer"] == customer and one["status"] != "canceled"
        ]
        if not living:
            if self.random.random() < 0.6:
                self._subscribe(customer, currency)
            return
        late = self.world.now >= CONNECTED
        deed = self.random.choice(_LATER if late else _FIRST_YEAR)
        getattr(self, deed)(self.random.choice(living))
        if late and self.random.random() < 0.1:
            self._subscribe(customer, currency)

    def _idle(self, _subscription: str) -> None:
        """In the first year nothing changes of which Stripe keeps no time."""

    # ------------------------------------------------------------------ subscriptions

    def _subscribe(self, customer: str, currency: str) -> None:
        prices = self.random.sample(self.prices[currency], k=self.random.choice((1, 1, 2, 3)))
        trial = self.random.choice((0, 0, 14))
        end = self.world.second + 86_400 * (trial or 30)
        subscription = self.world.new_id("sub", 24)
        items = [self._item(subscription, price, self.random.randint(1, 7), end) for price in prices]
        if self.random.random() < 0.3:
            items.append(self._item(subscription, self.metered[currency], None, end))
        made = shapes.subscription(
            subscription, customer_id=customer, items=items, status="trialing" if trial else "incomplete",
            created=self.world.second, metadata=self.world.objects[customer]["metadata"],
        )  # fmt: skip
        made |= {"trial_start": self.world.second, "trial_end": end} if trial else {}
        self.world._store(made | {"currency": currency})
        self.world.emit("customer.subscription.created", self.world.objects[subscription])
        if self.random.random() < 0.35:
            self._discount(subscription, forever=self.world.now < CONNECTED)
        if not trial:
            self.world.update(subscription, status="active")
            self._bill(subscription)
        else:
            self._at(self.world.now + trial * DAY, lambda: self._end_trial(subscription))
        self._at(self.world.now + (trial or 30) * DAY + timedelta(minutes=5), lambda: self._renew(subscription))

    def _item(self, subscription: str, price: str, quantity: int | None, end: int) -> Object:
        made = shapes.subscription_item(
            self.world.new_id("si"), subscription_id=subscription, price=copy.deepcopy(self.world.objects[price]),
            quantity=quantity or 0, start=self.world.second, end=end,
        )  # fmt: skip
        if quantity is None:
            del made["quantity"]
        return made

    def _end_trial(self, subscription: str) -> None:
        if self._state(subscription)["status"] == "trialing":
            self.world.now = datetime.fromtimestamp(self._state(subscription)["trial_end"], UTC)
            pauses = self.world.now >= CONNECTED and self.random.random() < 0.1
            self.world.update(subscription, status="paused" if pauses else "active")

    def _renew(self, subscription: str) -> None:
        if self._state(subscription)["status"] in {"active", "past_due"}:
            items = self.world._items(subscription)
            for item in items:
                start = item["current_period_end"]
                item |= {"current_period_start": start, "current_period_end": start + 30 * 86_400}
            self.world._update_items(subscription, items)
            self._bill(subscription)
            self._at(self.world.now + 30 * DAY, lambda: self._renew(subscription))

    def _cancel(self, subscription: str) -> None:
        self.world.cancel(subscription)

    def _quantity(self, subscription: str) -> None:
        """In the middle of a period, billed at once."""
        items = self.world._items(subscription)
        item = self.random.choice([one for one in items if "quantity" in one])
        item["quantity"] = max(1, item["quantity"] + self.random.choice((-2, -1, 1, 2, 5)))
        self.world._update_items(subscription, items)
        self._bill(subscription, proration=True)

    def _plan(self, subscription: str) -> None:
        items = self.world._items(subscription)
        price = self.random.choice(self.prices[self._state(subscription)["currency"]])
        items[0] |= {"price": copy.deepcopy(self.world.objects[price])}
        self.world._update_items(subscription, items)

    def _more(self, subscription: str) -> None:
        items = self.world._items(subscription)
        price = self.random.choice(self.prices[self._state(subscription)["currency"]])
        items.append(self._item(subscription, price, self.random.randint(1, 3), items[0]["current_period_end"]))
        self.world._update_items(subscription, items)

    def _fewer(self, subscription: str) -> None:
        self.world._update_items(subscription, self.world._items(subscription)[:1])

    def _pause(self, subscription: str) -> None:
        behavior = self.random.choice(("void", "keep_as_draft", "mark_uncollectible"))
        ends = self.world.second + 86_400 * 20 if self.random.random() < 0.5 else None
        self.world.update(subscription, pause_collection={"behavior": behavior, "resumes_at": ends})

    def _resume(self, subscription: str) -> None:
        self.world.update(subscription, pause_collection=None)

    def _past_due(self, subscription: str) -> None:
        if self._state(subscription)["status"] in {"active", "past_due", "unpaid"}:
            self.world.update(subscription, status=self.random.choice(("active", "past_due", "unpaid")))

    # ------------------------------------------------------------------ discounts

    def _discounted(self, subscription: str) -> None:
        self._discount(subscription)

    def _discount(self, subscription: str, *, forever: bool = False) -> None:
        """Of a subscription, one of its items, or the customer."""
        state = self._state(subscription)
        coupon = self.world.objects[self.random.choice(self.coupons[state["currency"]][: 1 if forever else None])]
        months = coupon.get("duration_in_months")
        target = self.random.choice(("subscription", "item")) if forever else self.random.choice(_TARGETS)
        made = {
            "id": self.world.new_id("di"),
            "object": "discount",
            "customer": state["customer"],
            "subscription": None if target == "customer" else subscription,
            "subscription_item": state["items"]["data"][-1]["id"] if target == "item" else None,
            "source": {"coupon": coupon["id"], "type": "coupon"},
            "start": self.world.second,
            "end": self.world.second + months * 30 * 86_400 if months else None,
        }
        self.world._store(made)
        self.world.emit("customer.discount.created", made)

    def _undiscount(self, subscription: str) -> None:
        state = self._state(subscription)
        for one in list(self.world.objects.values()):
            mine = one["object"] == "discount" and one.get("subscription") == subscription and not one.get("deleted")
            if mine and state["status"] != "canceled":
                self.world.emit("customer.discount.deleted", one)
                self.world.objects[one["id"]] = {**one, "deleted": True}
                return

    # ------------------------------------------------------------------ money

    def _bill(self, subscription: str, *, proration: bool = False) -> None:
        """An invoice, paid at once in most cases; else later, given up, voided, or corrected by a credit note first."""
        state = self._state(subscription)
        amount = self.random.randint(500, 90_000)
        made = shapes.invoice(
            self.world.new_id("in", 24), subscription=state, number="N", reason="subscription_cycle", amount=amount,
            created=self.world.second,
        )  # fmt: skip
        made["currency"] = state["currency"]
        made["due_date"] = self.world.second + 14 * 86_400
        [line] = made["lines"]["data"]
        line["parent"]["subscription_item_details"]["proration"] = proration
        line["currency"] = state["currency"]
        metered = [one for one in state["items"]["data"] if "quantity" not in one]
        if metered:
            used = self.random.randint(1, 300)
            line |= {"quantity": used, "amount": amount, "discount_amounts": [{"amount": 7, "discount": "di_x"}]}
            line["pricing"]["price_details"]["price"] = metered[0]["price"]["id"]
            line["parent"]["subscription_item_details"]["subscription_item"] = metered[0]["id"]
        invoice = self.world._store(made)
        self.world.emit("invoice.created", self.world.objects[invoice])
        self.world._finalize(invoice)
        fate = self.random.random()
        if fate < 0.7:
            self._pay(invoice)
        elif fate < 0.85:
            self._at(self.world.now + self._days(3, 45), lambda: self._note(invoice))
            self._at(self.world.now + self._days(46, 60), lambda: self._pay(invoice))
        else:
            end = ("void", "voided_at") if fate < 0.9 else ("uncollectible", "marked_uncollectible_at")
            self._at(self.world.now + self._days(20, 50), lambda: self.world._transition(invoice, *end))

    def _pay(self, invoice: str) -> None:
        bill = self.world.objects[invoice]
        if bill["status"] != "open":
            return
        self.world._pay(invoice)
        charge = next(e["data"]["object"] for e in reversed(self.world.events) if e["type"] == "charge.succeeded")
        self._enter(charge["id"], charge["amount"], fee=charge["amount"] // 33 + 30, currency=charge["currency"])
        fate = self.random.random()
        if fate < 0.15:
            self._at(self.world.now + self._days(1, 20), lambda: self._refund(charge))
        elif fate < 0.25:
            self._at(self.world.now + self._days(5, 40), lambda: self._dispute(charge))

    def _refund(self, charge: Object) -> None:
        made = {
            "id": self.world.new_id("re", 24), "object": "refund", "status": "pending", "charge": charge["id"],
            "amount": self.random.randint(1, charge["amount"]), "currency": charge["currency"],
            "created": self.world.second, "reason": None,
        }  # fmt: skip
        refund = self.world.create(made)
        status = "failed" if self.random.random() < 0.2 else "succeeded"
        self._at(self.world.now + self._days(1, 9), lambda: self.world.update(refund, status=status))

    def _dispute(self, charge: Object) -> None:
        made = {
            "id": self.world.new_id("dp", 24), "object": "dispute", "status": "needs_response",
            "charge": charge["id"], "amount": charge["amount"], "currency": charge["currency"],
            "created": self.world.second, "reason": "general",
        }  # fmt: skip
        dispute = self.world.create(made)
        self._enter(dispute, -charge["amount"], fee=1500, currency=charge["currency"])
        status = self.random.choice(("won", "lost"))
        self._at(self.world.now + self._days(10, 60), lambda: self.world.update(dispute, status=status))

    def _note(self, invoice: str) -> None:
        """Before it is paid: what is owed gets less."""
        bill = self.world.objects[invoice]
        if bill["status"] != "open":
            return
        amount = self.random.randint(1, bill["amount_due"] // 2)
        made = {
            "id": self.world.new_id("cn", 24), "object": "credit_note", "status": "issued", "type": "pre_payment",
            "invoice": invoice, "customer": bill["customer"], "amount": amount, "currency": bill["currency"],
            "created": self.world.second, "reason": None,
        }  # fmt: skip
        self.world.create(made)
        left = bill["amount_due"] - amount
        self.world.update(invoice, amount_due=left, amount_remaining=left)

    def _enter(self, source: str, amount: int, *, fee: int, currency: str) -> None:
        made = {
            "id": self.world.new_id("txn", 24), "object": "balance_transaction", "status": "available",
            "type": "charge", "source": source, "amount": amount, "fee": fee, "net": amount - fee,
            "currency": currency, "created": self.world.second, "available_on": self.world.second,
        }  # fmt: skip
        self.world._store(made)
        self.entries.append(made)

    # ------------------------------------------------------------------ time

    def _connect(self) -> None:
        self.backfilled = copy.deepcopy([one for one in self.world.objects.values() if "id" in one])

    def _state(self, object_id: str) -> Object:
        return self.world.objects[object_id]

    def _at(self, when: datetime, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._number), act))

    def _days(self, low: int, high: int) -> timedelta:
        return timedelta(seconds=self.random.randint(low * 86_400, high * 86_400))


_FIRST_YEAR = ("_cancel", *("_idle",) * 6)
_TARGETS = ("subscription", "subscription", "item", "customer")
_LATER = (
    "_cancel", "_quantity", "_quantity", "_quantity", "_plan", "_plan", "_more", "_fewer", "_pause", "_resume",
    "_resume", "_past_due", "_past_due", "_discounted", "_discounted", "_undiscount",
)  # fmt: skip
