"""A small Stripe with a history: each action changes objects and appends the events that Stripe would send.

Deterministic: the same calls with the same seed give the same ids, times and events. `created` has whole
seconds and the clock moves only by `advance`, so all effects of one action have the same second, as at Stripe.
`objects` is the truth that any consumer of `events` should reach. `month` plays a whole company in it.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from nilometer.domain.stripe.handled import API_VERSION
from nilometer.local.stripe import shapes
from nilometer.local.stripe.shapes import Object

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
_PREFIX = {"subscription": "customer.subscription", "dispute": "charge.dispute"}


class StripeWorld:
    """Customers, a catalog, subscriptions and invoices; `account` makes it a Connect account's world."""

    def __init__(self, now: datetime, seed: int = 0, account: str | None = None, livemode: bool = False) -> None:
        self.now = now
        self.account = account
        self.livemode = livemode
        self.random = random.Random(seed)
        self.events: list[Object] = []
        self.objects: dict[str, Object] = {}
        self.entitlements: dict[str, list[Object]] = {}  # by customer, whole where a summary shows ten
        self.inline: set[str] = set()  # prices that were made with what names them: no list has them
        self.features: dict[str, Mapping[str, str]] = {}  # metadata by lookup key; no event reports them
        self.meter_events: dict[str, Object] = {}  # by identifier
        self.reports: dict[str, Object] = {}  # thin events with their data, by id

    @property
    def second(self) -> int:
        """Unix time, as in Stripe's `created`."""
        return int(self.now.timestamp())

    def advance(self, by: timedelta) -> None:
        """Moves the clock, and nothing else: what becomes due is done by `renew` and its like."""
        self.now += by

    def new_id(self, prefix: str, length: int = 14) -> str:
        """Drawn from the seed, so the n-th id of a world is the same in every run."""
        return f"{prefix}_" + "".join(self.random.choices(_ALPHABET, k=length))

    # ------------------------------------------------------------------ meters

    def report_errors(self, identifiers: Sequence[str], code: str, *, unnamed: int = 0) -> Object:
        """Meter events that Stripe took and cannot count: not counted any more, and reported by a thin event, whose
        webhook is returned; its data are asked for."""
        kind = "no_meter_found" if code == "no_meter" else "error_report_triggered"
        thin: Object = {"id": self.new_id("evt"), "object": "v2.core.event", "type": f"v1.billing.meter.{kind}"}
        thin |= {"livemode": self.livemode, "created": self.now.strftime("%Y-%m-%dT%H:%M:%S.000Z"), "context": None}
        if code != "no_meter":
            meter = self.new_id("mtr")
            thin["related_object"] = {"id": meter, "type": "billing.meter", "url": f"/v1/billing/meters/{meter}"}
        for identifier in identifiers:
            self.meter_events.pop(identifier, None)
        samples = [{"error_message": "It cannot be counted", "request": {"identifier": one}} for one in identifiers]
        count = len(identifiers) + unnamed
        reason = {
            "error_count": count,
            "error_types": [{"code": code, "error_count": count, "sample_errors": samples}],
        }
        window = {"validation_start": thin["created"], "validation_end": thin["created"]}
        said = {"developer_message_summary": f"There are {count} invalid events", "reason": reason, **window}
        self.reports[str(thin["id"])] = {**thin, "data": said}
        return thin

    # ------------------------------------------------------------------ catalog

    def product(self, name: str, metadata: Mapping[str, str] = {}) -> str:
        """Creates a product and emits `product.created`; gives its id."""
        made = shapes.product(self.new_id("prod"), name=name, created=self.second, metadata=metadata)
        return self.create(made)

    def price(
        self,
        product: str,
        unit_amount: int,
        interval: str = "month",
        metadata: Mapping[str, str] = {},
        *,
        interval_count: int = 1,
    ) -> str:
        """Creates a price in the catalog and emits `price.created`; `unit_amount` in cents."""
        made = shapes.price(
            self.new_id("price"),
            product_id=product,
            unit_amount=unit_amount,
            interval=interval,
            interval_count=interval_count,
            created=self.second,
            metadata=metadata,
        )
        return self.create(made)

    # ------------------------------------------------------------------ customers

    def customer(self, workspace_id: str | None = None) -> str:
        """Creates a customer and emits `customer.created`; a `workspace_id` goes into its metadata."""
        metadata = {"workspace_id": workspace_id} if workspace_id else {}
        return self.create(shapes.customer(self.new_id("cus"), created=self.second, metadata=metadata))

    def attach_card(self, customer: str) -> str:
        """A payment method that becomes the customer's default."""
        made = shapes.payment_method(self.new_id("pm"), customer_id=customer, created=self.second)
        card = self._store(made)
        self.emit("payment_method.attached", self.objects[card])
        settings = self.objects[customer]["invoice_settings"] | {"default_payment_method": card}
        self.update(customer, invoice_settings=settings)
        return card

    def detach(self, payment_method: str) -> None:
        """From its customer, for good; where it was the default, nothing is."""
        customer = str(self.objects[payment_method]["customer"])
        self.objects[payment_method]["customer"] = None
        self.emit("payment_method.detached", self.objects[payment_method], {"customer": customer})
        settings = self.objects[customer]["invoice_settings"]
        if settings["default_payment_method"] == payment_method:
            self.update(customer, invoice_settings=settings | {"default_payment_method": None})

    def delete_customer(self, customer: str) -> None:
        """Ends its subscriptions first, as Stripe does."""
        for subscription in self._subscriptions(customer):
            self.cancel(subscription)
        self.delete(customer)

    def entitle(self, customer: str, lookup_keys: Sequence[str]) -> None:
        """The features that the customer has now; sent as one summary."""
        features = [(f"feat_{key}", key) for key in lookup_keys]
        self.features |= {key: {} for key in lookup_keys if key not in self.features}
        self.entitlements[customer] = shapes.entitlements(features)
        summary = shapes.entitlement_summary(customer_id=customer, features=features)
        self.objects[f"entitlements:{customer}"] = summary
        self.emit("entitlements.active_entitlement_summary.updated", summary)

    def checkout(self, workspace_id: str | None, items: Sequence[tuple[str, int]]) -> str:
        """A customer who came through Checkout: only the session names the workspace. Returns the subscription."""
        customer = self.customer()
        subscription = self.subscribe(customer, items)
        made = shapes.checkout_session(
            self.new_id("cs_test", 24),
            customer_id=customer,
            subscription_id=subscription,
            workspace_id=workspace_id,
            created=self.second,
        )
        self.emit("checkout.session.completed", self.objects[self._store(made)])
        return subscription

    # ------------------------------------------------------------------ subscriptions

    def subscribe(self, customer: str, items: Sequence[tuple[str, int]], trial_days: int = 0) -> str:
        """`items`: (price, quantity). Incomplete, invoiced, paid and active within one second, or trialing."""
        if not self.objects[customer]["invoice_settings"]["default_payment_method"]:
            self.attach_card(customer)
        subscription = self._store(self._new_subscription(customer, items, trial_days))
        invoice = self._new_invoice(subscription, "subscription_create")
        self.objects[subscription]["latest_invoice"] = invoice
        self.emit("customer.subscription.created", self.objects[subscription])
        self.emit("invoice.created", self.objects[invoice])
        self._finalize(invoice)
        self._pay(invoice)
        if not trial_days:
            self.update(subscription, status="active")
        return subscription

    def change_quantity(self, subscription: str, n: int) -> None:
        """Of the first item."""
        items = self._items(subscription)
        items[0]["quantity"] = n
        self._update_items(subscription, items)

    def change_price(self, subscription: str, price: str) -> None:
        """Of the first item, with an invoice for the difference at once. With another interval a new period begins,
        but in a trial."""
        items = self._items(subscription)
        length = self._length(self.objects[price])
        trial = self.objects[subscription]["status"] == "trialing"
        if length != self._length(items[0]["price"]) and not trial:
            items[0] |= {"current_period_start": self.second, "current_period_end": self.second + length}
        items[0]["price"] = copy.deepcopy(self.objects[price])
        items[0]["plan"] = shapes.plan(items[0]["price"])
        invoice = self._new_invoice(subscription, "subscription_update")
        self.emit("invoice.created", self.objects[invoice])
        self._update_items(subscription, items, latest_invoice=invoice)
        self._finalize(invoice)
        self._pay(invoice)

    def add_item(self, subscription: str, price: str, quantity: int = 1) -> None:
        """One more price in the subscription, for the period of an item with its interval, else from now on."""
        items = self._items(subscription)
        made = self._new_item(subscription, price, quantity, self.second + self._length(self.objects[price]))
        for alike in items:
            if self._length(alike["price"]) == self._length(made["price"]):
                made |= {name: alike[name] for name in ("current_period_start", "current_period_end")}
        self._update_items(subscription, [*items, made])

    def remove_item(self, subscription: str, position: int) -> None:
        """Of several items one, by its place; the others keep their periods."""
        items = self._items(subscription)
        del items[position]
        self._update_items(subscription, items)

    def renew(self, subscription: str) -> None:
        """The next period begins, not before the current one has ended, and its invoice is paid: of the items whose
        period ends first."""
        invoice = self._next_period(subscription, status="active")
        self._finalize(invoice)
        self._pay(invoice)

    def end_trial(self, subscription: str) -> None:
        """The first paid period begins, with its invoice."""
        self.renew(subscription)

    def warn_trial_end(self, subscription: str) -> None:
        """Emits `customer.subscription.trial_will_end`, which Stripe sends three days before; no object changes."""
        self.emit("customer.subscription.trial_will_end", self.objects[subscription])

    def fail_payment(self, subscription: str) -> None:
        """The payment of an open invoice fails once more; without one, a renewal begins and is not paid."""
        invoice = self.objects[subscription]["latest_invoice"]
        if self.objects[invoice]["status"] != "open":
            invoice = self._next_period(subscription, status="active")
            self._finalize(invoice)
        self._decline(invoice)
        self.update(subscription, status="past_due")
        self.update(self.objects[subscription]["customer"], delinquent=True)

    def recover_payment(self, subscription: str) -> None:
        """The open invoice is paid after all."""
        invoice = self.objects[subscription]["latest_invoice"]
        if self.objects[invoice]["status"] in {"paid", "void"}:
            return
        self._pay(invoice)
        self.update(self.objects[subscription]["customer"], delinquent=False)
        self.update(subscription, status="active")

    def give_up_payment(self, subscription: str) -> None:
        """Retries are over: the invoice is uncollectible, the subscription unpaid."""
        invoice = self.objects[subscription]["latest_invoice"]
        self._transition(invoice, "uncollectible", "marked_uncollectible_at")
        self.emit("invoice.marked_uncollectible", self.objects[invoice])
        self.update(subscription, status="unpaid")

    def cancel_at_period_end(self, subscription: str, on: bool = True) -> None:
        """Sets the end of the current period as the subscription's own, or takes it back."""
        end = max(item["current_period_end"] for item in self.objects[subscription]["items"]["data"])
        self.update(
            subscription,
            cancel_at_period_end=on,
            cancel_at=end if on else None,
            canceled_at=self.second if on else None,
            cancellation_details={
                "comment": None,
                "feedback": None,
                "reason": "cancellation_requested" if on else None,
            },
        )

    def cancel_at(self, subscription: str, when: int | None) -> None:
        """As the customer portal does under flexible billing: only `cancel_at` is set."""
        self.update(subscription, cancel_at=when, canceled_at=None if when is None else self.second)

    def cancel(self, subscription: str) -> None:
        """At once: the last event of the subscription."""
        self.objects[subscription] |= {
            "status": "canceled",
            "canceled_at": self.objects[subscription]["canceled_at"] or self.second,
            "ended_at": self.second,
        }
        self.emit("customer.subscription.deleted", self.objects[subscription])

    def pause(self, subscription: str) -> None:
        """Status `paused`, as after a trial without a payment method."""
        self.update(subscription, status="paused")
        self.emit("customer.subscription.paused", self.objects[subscription])

    def resume(self, subscription: str) -> None:
        """Status `active` again, in the period in which it was paused."""
        self.update(subscription, status="active")
        self.emit("customer.subscription.resumed", self.objects[subscription])

    # ------------------------------------------------------------------ any object

    def create(self, made: Object) -> str:
        """Keeps a new object and sends `*.created`."""
        object_id = self._store(made)
        kind = made["object"]
        self.emit(f"{_PREFIX.get(kind, kind)}.created", self.objects[object_id])
        return object_id

    def update(self, object_id: str, **changes: Any) -> None:
        """Changes attributes and sends `*.updated`; nothing is sent when nothing changes."""
        before = copy.deepcopy(self.objects[object_id])
        self.objects[object_id] |= copy.deepcopy(changes)
        previous = difference(before, self.objects[object_id])
        if previous:
            kind = before["object"]
            self.emit(f"{_PREFIX.get(kind, kind)}.updated", self.objects[object_id], previous)

    def delete(self, object_id: str) -> None:
        """A customer, product or price is deleted; what is left of it says so."""
        last = self.objects[object_id]
        self.emit(f"{last['object']}.deleted", last)
        self.objects[object_id] = {"id": object_id, "object": last["object"], "deleted": True}

    def emit(self, event_type: str, data: Object, previous: Object | None = None) -> Object:
        """Appends an event with a snapshot of `data` as it is now."""
        body: Object = {"object": copy.deepcopy(data)}
        if previous is not None:
            body["previous_attributes"] = previous
        event: Object = {
            "id": self._event_id(),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.second,
            "data": body,
            "livemode": self.livemode,
            "pending_webhooks": 1,
            "request": {"id": self.new_id("req"), "idempotency_key": None},
            "type": event_type,
        }
        self.events.append(event | ({"account": self.account} if self.account else {}))
        return self.events[-1]

    def _event_id(self) -> str:
        """Like Stripe's: the second is in it, the order within the second is not."""
        return f"evt_1{_base62(self.second)}{''.join(self.random.choices(_ALPHABET, k=16))}"

    def _store(self, made: Object) -> str:
        self.objects[made["id"]] = made | {"livemode": self.livemode}
        return str(made["id"])

    # ------------------------------------------------------------------ parts of the actions

    def _new_subscription(self, customer: str, items: Sequence[tuple[str, int]], trial_days: int) -> Object:
        subscription = self.new_id("sub", 24)
        lengths = [86400 * trial_days or self._length(self.objects[price]) for price, _ in items]
        made = shapes.subscription(
            subscription,
            customer_id=customer,
            items=[
                self._new_item(subscription, price, quantity, self.second + length)
                for (price, quantity), length in zip(items, lengths, strict=True)
            ],
            status="trialing" if trial_days else "incomplete",
            created=self.second,
            metadata={k: v for k, v in self.objects[customer]["metadata"].items() if k == "workspace_id"},
        )
        return made | ({"trial_start": self.second, "trial_end": self.second + lengths[0]} if trial_days else {})

    def _new_item(self, subscription: str, price: str, quantity: int, end: int) -> Object:
        return shapes.subscription_item(
            self.new_id("si"),
            subscription_id=subscription,
            price=copy.deepcopy(self.objects[price]),
            quantity=quantity,
            start=self.second,
            end=end,
        )

    def _length(self, price: Object) -> int:
        """Seconds of a period."""
        recurring = price["recurring"]
        return 86400 * _DAYS[str(recurring["interval"])] * int(recurring["interval_count"])

    def _items(self, subscription: str) -> list[Object]:
        return copy.deepcopy(list(self.objects[subscription]["items"]["data"]))

    def _update_items(self, subscription: str, items: list[Object], **changes: Any) -> None:
        single = items[0] if len(items) == 1 else {"plan": None, "quantity": None}
        listing = self.objects[subscription]["items"] | {"data": items, "total_count": len(items)}
        self.update(subscription, items=listing, plan=single["plan"], quantity=single["quantity"], **changes)

    def _next_period(self, subscription: str, *, status: str) -> str:
        """The clock moves to the end of the period when it is not there yet. Returns the new draft invoice."""
        items = self._items(subscription)
        end = min(item["current_period_end"] for item in items)
        self.advance(timedelta(seconds=max(0, end - self.second)))
        renewed = [item for item in items if item["current_period_end"] == end]
        for item in renewed:
            item |= {"current_period_start": end, "current_period_end": end + self._length(item["price"])}
        invoice = self._new_invoice(subscription, "subscription_cycle", renewed)
        self.emit("invoice.created", self.objects[invoice])
        self._update_items(subscription, items, latest_invoice=invoice, status=status)
        return invoice

    def _new_invoice(self, subscription: str, reason: str, items: Sequence[Object] = ()) -> str:
        """For `items`, else for all of the subscription's."""
        owner = self.objects[subscription]
        customer = self.objects[owner["customer"]]
        trial = owner["status"] == "trialing" and reason == "subscription_create"
        amount = 0 if trial else sum(i["price"]["unit_amount"] * i["quantity"] for i in items or owner["items"]["data"])
        made = shapes.invoice(
            self.new_id("in", 24),
            subscription=owner,
            number=f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}",
            reason=reason,
            amount=amount,
            created=self.second,
        )
        customer["next_invoice_sequence"] += 1
        return self._store(made)

    def _finalize(self, invoice: str) -> None:
        self._transition(invoice, "open", "finalized_at", effective_at=self.second)
        self.emit("invoice.finalized", self.objects[invoice])

    def _pay(self, invoice: str) -> None:
        bill = self.objects[invoice]
        if bill["amount_due"]:
            self._charge(invoice, paid=True)
        self._transition(
            invoice,
            "paid",
            "paid_at",
            amount_paid=bill["amount_due"],
            amount_remaining=0,
            attempt_count=bill["attempt_count"] + 1,
            attempted=True,
            auto_advance=False,
            next_payment_attempt=None,
        )
        self.emit("invoice.paid", self.objects[invoice])
        self.emit("invoice.payment_succeeded", self.objects[invoice])
        payment = shapes.invoice_payment(self.new_id("inpay", 24), invoice=bill, created=self.second)
        self.emit("invoice_payment.paid", self.objects[self._store(payment)])

    def _decline(self, invoice: str) -> None:
        self._charge(invoice, paid=False)
        attempts = self.objects[invoice]["attempt_count"] + 1
        self.update(invoice, attempt_count=attempts, attempted=True, next_payment_attempt=self.second + 3 * 86400)
        self.emit("invoice.payment_failed", self.objects[invoice])

    def _charge(self, invoice: str, *, paid: bool) -> None:
        made = shapes.charge(self.new_id("ch", 24), invoice=self.objects[invoice], paid=paid, created=self.second)
        self.emit("charge.succeeded" if paid else "charge.failed", self.objects[self._store(made)])

    def _transition(self, invoice: str, status: str, stamp: str, **changes: Any) -> None:
        transitions = self.objects[invoice]["status_transitions"] | {stamp: self.second}
        self.update(invoice, status=status, status_transitions=transitions, **changes)

    def _subscriptions(self, customer: str) -> list[str]:
        return [
            id_
            for id_, known in list(self.objects.items())
            if known["object"] == "subscription" and known["customer"] == customer and known["status"] != "canceled"
        ]


def difference(before: Object, after: Object) -> Object:
    """`previous_attributes`: the old values of what changed; hashes by changed key, arrays whole, null for what is new.

    Source: https://docs.stripe.com/api/events/object#event_object-data-previous_attributes.
    """
    previous: Object = {}
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        previous[name] = difference(old, new) if isinstance(old, dict) and isinstance(new, dict) else old
    return copy.deepcopy(dict(sorted(previous.items())))


def _base62(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits
