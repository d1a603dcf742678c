"""One realistic event of any type, for `nilometer trigger`: all events of a workspace concern one customer."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from nilometer.local.stripe import shapes
from nilometer.local.stripe.event_types import EVENT_TYPES, near
from nilometer.local.stripe.shapes import Object
from nilometer.local.stripe.world import StripeWorld

# Whose object is not the type without its last part.
_OBJECTS = {
    "charge.dispute": "dispute",
    "charge.refund": "refund",
    "customer.discount": "discount",
    "customer.source": "source",
    "customer.subscription": "subscription",
    "customer.tax_id": "tax_id",
    "issuing_authorization": "issuing.authorization",
    "issuing_card": "issuing.card",
    "issuing_cardholder": "issuing.cardholder",
    "issuing_dispute": "issuing.dispute",
    "issuing_transaction": "issuing.transaction",
    "sigma.scheduled_query_run": "scheduled_query_run",
}


def sample(event_type: str, workspace_id: str | None = None, now: datetime | None = None) -> Object:
    """A Stripe event of `event_type`, created `now`, for the one customer of `workspace_id`.

    Customer, subscription, product and price have the same ids for a workspace every time; invoices, charges
    and the event itself are new each second. `ValueError` for a type that Stripe does not send, with near ones.
    """
    if event_type not in EVENT_TYPES:
        raise ValueError(f"Stripe sends no {event_type!r}; near ones: {', '.join(near(event_type)) or 'none'}")
    workspace = workspace_id or "ws_sample"
    now = now or datetime(2026, 11, 1, tzinfo=UTC)
    world = _Company(workspace, now)
    _SCENES.get(event_type, partial(_Company.anything, event_type=event_type))(world)
    event = next(event for event in reversed(world.events) if event["type"] == event_type)
    return event | {
        "id": f"evt_{_digest(workspace, event_type, now.isoformat())[:24]}",
        "created": int(now.timestamp()),
    }


class _Company(StripeWorld):
    """One customer with a plan, subscribed on the first of the month; what happens next happens now."""

    def __init__(self, workspace_id: str, now: datetime) -> None:
        start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        super().__init__(start, seed=int(_digest(workspace_id)[:12], 16))
        self.product_id = self.product("Papyrus", {"limit_api_calls": "100000", "plan": "papyrus"})
        self.price_id = self.price(self.product_id, 4900)
        self.customer_id = self.customer(workspace_id)
        self.card_id = self.attach_card(self.customer_id)
        self.subscription_id = self.subscribe(self.customer_id, [(self.price_id, 3)])
        self.workspace_id = workspace_id
        self.now = now
        self.random = random.Random(_digest(workspace_id, now.isoformat()))

    def anything(self, event_type: str) -> None:
        """A type that billing keeps as a fact: the smallest object of its kind."""
        kind = event_type.rpartition(".")[0]
        data = {
            # An invoice to come has no id. Source: https://docs.stripe.com/api/events/types.
            **({} if event_type == "invoice.upcoming" else {"id": self.new_id(kind.rpartition(".")[2][:6], 24)}),
            "object": _OBJECTS.get(kind, kind),
            "created": self.second,
            "customer": self.customer_id,
            "livemode": False,
            "metadata": {"workspace_id": self.workspace_id},
        }
        self.emit(event_type, data)

    def renew_now(self) -> None:
        self._period_ends()
        self.renew(self.subscription_id)

    def fail(self) -> None:
        self._period_ends()
        self.fail_payment(self.subscription_id)

    def resume_now(self) -> None:
        self.pause(self.subscription_id)
        self.resume(self.subscription_id)

    def write_off(self) -> None:
        self.fail()
        self.give_up_payment(self.subscription_id)

    def check_out(self) -> None:
        session = shapes.checkout_session(
            self.new_id("cs_test", 24),
            customer_id=self.customer_id,
            subscription_id=self.subscription_id,
            workspace_id=self.workspace_id,
            created=self.second,
        )
        self.emit("checkout.session.completed", session)

    def bill(self, event_type: str, **changes: Any) -> None:
        """An event about a new invoice of the subscription that is still open."""
        self.fail()
        self.say(event_type, self.objects[self.subscription_id]["latest_invoice"], **changes)

    def _period_ends(self) -> None:
        self.objects[self.subscription_id]["items"]["data"][0]["current_period_end"] = self.second

    def say(self, event_type: str, object_id: str, **changes: Any) -> None:
        self.objects[object_id] |= changes
        self.emit(event_type, self.objects[object_id])


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


_Scene = Callable[[_Company], object]

_SCENES: dict[str, _Scene] = {
    "customer.created": lambda w: w.say("customer.created", w.customer_id),
    "customer.updated": lambda w: w.update(w.customer_id, delinquent=True),
    "customer.deleted": lambda w: w.delete(w.customer_id),
    "product.created": lambda w: w.say("product.created", w.product_id),
    "product.updated": lambda w: w.update(w.product_id, name="Papyrus Plus"),
    "product.deleted": lambda w: w.delete(w.product_id),
    "price.created": lambda w: w.say("price.created", w.price_id),
    "price.updated": lambda w: w.update(w.price_id, nickname="monthly"),
    "price.deleted": lambda w: w.delete(w.price_id),
    "payment_method.attached": lambda w: w.say("payment_method.attached", w.card_id),
    "payment_method.detached": lambda w: w.say("payment_method.detached", w.card_id, customer=None),
    "payment_method.updated": lambda w: w.say("payment_method.updated", w.card_id),
    "customer.subscription.created": lambda w: w.say("customer.subscription.created", w.subscription_id),
    "customer.subscription.updated": lambda w: w.change_quantity(w.subscription_id, 5),
    "customer.subscription.trial_will_end": lambda w: w.warn_trial_end(w.subscription_id),
    "customer.subscription.deleted": lambda w: w.cancel(w.subscription_id),
    "customer.subscription.paused": lambda w: w.pause(w.subscription_id),
    "customer.subscription.resumed": _Company.resume_now,
    "invoice.marked_uncollectible": _Company.write_off,
    **{
        f"invoice.{last}": _Company.renew_now
        for last in ("created", "finalized", "paid", "payment_succeeded", "updated")
    },
    **{f"charge.{last}": _Company.renew_now for last in ("succeeded",)},
    "invoice_payment.paid": _Company.renew_now,
    "invoice.payment_failed": _Company.fail,
    "charge.failed": _Company.fail,
    "invoice.voided": lambda w: w.bill("invoice.voided", status="void"),
    "invoice.deleted": lambda w: w.bill("invoice.deleted", status="draft"),
    **{
        f"invoice.{last}": partial(_Company.bill, event_type=f"invoice.{last}")
        for last in ("sent", "overdue", "payment_action_required", "finalization_failed", "will_be_due")
    },
    "checkout.session.completed": _Company.check_out,
    "entitlements.active_entitlement_summary.updated": lambda w: w.entitle(w.customer_id, ["sso", "export"]),
}

SAMPLED = tuple(sorted({*_SCENES, "charge.refunded", "charge.dispute.created", "subscription_schedule.created"}))


def write(folder: Path) -> None:
    """`events/stripe`: one sample a type that changes billing."""
    for event_type in SAMPLED:
        text = json.dumps(sample(event_type, "ws_acme"), indent=2, sort_keys=True)
        (folder / f"{event_type}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
