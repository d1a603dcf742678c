"""Scopes of billing: the state is Stripe's, in whatever order events, answers and corrections come."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

from tests.support.flows.billing_play import PLAYED_AT, wrong
from tests.support.simulation.kernel.scope import Plant, Scope
from tests.support.simulation.scopes.events import envelope
from tests.support.simulation.scopes.usage.counting import law
from tests.support.simulation.services.messages import SimEventBridge
from tests.support.simulation.services.stripe import SimStripe

from nilometer.aws.eventbridge import Bus
from nilometer.domain.billing.record.refold import REFOLD_INDEX
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.event import Scope as StripeScope
from nilometer.domain.stripe.signature import sign
from nilometer.errors import NilometerError, Rejected, Unavailable
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing import catalog, reconcile, refetch, webhook
from nilometer.local.stripe.world import StripeWorld

BEGAN = datetime.fromisoformat("2026-10-01T00:00:00+00:00")
OWN = StripeScope()
SECRET = "whsec_simulated"


@cache
def company() -> tuple[StripeWorld, int, int]:
    """A catalog, one customer and one subscription that changes; how many events were the catalog, and the customer."""
    world = StripeWorld(BEGAN, seed=1)
    product = world.product("Reed", {"limit_api_calls": "100", "plan": "reed"})
    price = world.price(product, 1900)
    catalog = len(world.events)
    world.advance(timedelta(hours=1))
    customer = world.customer("ws_1")
    known = len(world.events)
    subscription = world.subscribe(customer, [(price, 2)])
    world.advance(timedelta(seconds=30))
    world.change_quantity(subscription, 3)
    return world, catalog, known


def consume(plant: Plant, name: str, events: Sequence[Any]) -> None:
    messages = [Message(f"{name}{n}", envelope(one, source="nilometer.webhook")) for n, one in enumerate(events)]
    plant.deliver(name, messages, partial(_handle, plant), queue="Billing")


def _handle(plant: Plant, messages: Sequence[Message]) -> Any:
    return billing.handle(messages, store=plant.store, objects=plant.objects, now=PLAYED_AT)


def played(plant: Plant, events: Sequence[Any]) -> None:
    """Nothing goes wrong."""
    messages = [Message(str(n), envelope(one, source="nilometer.webhook")) for n, one in enumerate(events)]
    _handle(plant, messages)


def with_catalog(plant: Plant) -> None:
    """Product and price are known."""
    world, known, _ = company()
    played(plant, world.events[:known])


def with_customer(plant: Plant) -> None:
    """Product, price and customer are known."""
    world, _, known = company()
    played(plant, world.events[:known])


def is_true(
    plant: Plant, world: StripeWorld, events: Sequence[Any], *, workspace: str = "ws_1", plan: str = "reed"
) -> None:
    """Objects and the workspace's record are Stripe's once the schedule has run, and each event is a fact once."""
    catalog.resume(plant.store, now=PLAYED_AT)
    law(not list(plant.store.query_index(REFOLD_INDEX)), "a change of the catalog is not in every record")
    bad = wrong(plant.store, world)
    law(not bad, f"these differ from Stripe: {bad}")
    facts = [item["event_id"] for item in plant.store.scan(Table.EVENTS, kind="stripe_event")]
    law(sorted(facts) == sorted({event["id"] for event in events}), f"facts {facts}")
    records = [item for item in plant.store.scan(Table.RECORDS, kind="billing") if item["workspace_id"] == workspace]
    law(len(records) == 1, f"{len(records)} records of one workspace")
    law(records[0].get("plan") == plan, f"the record's plan is {records[0].get('plan')}")


def consumers(cut: Callable[[list[Any], int, int], list[list[Any]]]) -> Callable[[Plant], Callable[[], None]]:
    """Consumers with the batches that `cut` makes of the company's events."""

    def prepare(plant: Plant) -> Callable[[], None]:
        world, products, known = company()
        batches = cut(world.events, products, known)
        for number, batch in enumerate(batches, 1):
            consume(plant, f"consumer {number}", batch)
        return lambda: is_true(plant, world, world.events)

    return prepare


def one_event_alone(plant: Plant) -> Callable[[], None]:
    """The same event comes to two consumers, alone in its batch."""
    world, _, known = company()
    for name in ("consumer 1", "consumer 2"):
        consume(plant, name, world.events[known : known + 1])

    def laws() -> None:
        facts = [item["event_id"] for item in plant.store.scan(Table.EVENTS, kind="stripe_event")]
        law(sorted(facts) == sorted(event["id"] for event in world.events[: known + 1]), f"facts {facts}")
        law(plant.outcomes[Outcome.ACCEPTED] <= 1, "one event was new twice")

    return laws


def one_register_alone(plant: Plant) -> Callable[[], None]:
    """An event of which nothing but a register depends comes to two consumers, alone in its batch."""
    for name in ("consumer 1", "consumer 2"):
        consume(plant, name, [DRAFTED])

    def laws() -> None:
        facts = [item["event_id"] for item in plant.store.scan(Table.EVENTS, kind="stripe_event")]
        law(sorted(facts) == sorted([CUSTOMER["id"], DRAFTED["id"]]), f"facts {facts}")
        law(plant.outcomes[Outcome.ACCEPTED] <= 1, "one event was new twice")
        drafts = [one for one in plant.store.scan(Table.RECORDS, kind="register") if one["object_id"] == "in_1"]
        law([one["status"] for one in drafts] == ["draft"], "the register does not hold the event")

    return laws


def a_refused_item(plant: Plant) -> Callable[[], None]:
    """DynamoDB will not have one customer's link, whatever is tried: his events are rejects, his neighbours' facts."""
    world, _, known = company()
    other = StripeWorld(BEGAN + timedelta(minutes=30), seed=2)
    bad = other.customer("ws_2")
    plant.client.refuses = {"records": bad}
    consume(plant, "consumer", [*world.events[known:], *other.events])

    def laws() -> None:
        is_true(plant, world, world.events)
        rejects = [item["event_id"] for item in plant.store.scan(Table.EVENTS, kind="reject")]
        law(sorted(rejects) == sorted(event["id"] for event in other.events), f"rejects {rejects}")

    return laws


def a_refused_fact(plant: Plant) -> Callable[[], None]:
    """DynamoDB takes an event's effect and refuses its fact: it is a reject, and its neighbours' facts are kept."""
    world, _, known = company()
    other = StripeWorld(BEGAN + timedelta(minutes=30), seed=2)
    other.customer("ws_2")
    [bad] = (event["id"] for event in other.events)
    plant.client.refuses = {"events": f"STRIPE#self#{bad}"}
    consume(plant, "consumer", [*world.events[known : known + 2], *other.events])

    def laws() -> None:
        facts = {item["event_id"] for item in plant.store.scan(Table.EVENTS, kind="stripe_event")}
        law(facts == {one["id"] for one in world.events[: known + 2]}, f"facts {facts}")
        rejects = [item["event_id"] for item in plant.store.scan(Table.EVENTS, kind="reject")]
        law(rejects == [bad], f"rejects {rejects}")

    return laws


def disputes(plant: Plant) -> Callable[[], None]:
    """A dispute and a warning of a charge, before and beside the event that tells whose the charge is."""
    batches = [[DISPUTED], [CHARGED], [WARNED]]
    for number, batch in enumerate(batches, 1):
        consume(plant, f"consumer {number}", batch)

    def laws() -> None:
        waits = list(plant.store.scan(Table.RECORDS, kind="waiting_risk"))
        law(not waits, f"{len(waits)} disputes wait for a charge that is known")
        [record] = [item for item in plant.store.scan(Table.RECORDS, kind="billing") if item["workspace_id"] == "ws"]
        risk = record.get("risk") or {}
        law((risk.get("open_disputes"), risk.get("warnings")) == (1, 1), f"the risk is {risk}")

    return laws


def stripe_event(kind: str, second: int, **state: Any) -> dict[str, Any]:
    moment = int(BEGAN.timestamp())
    data = {"object": {"livemode": False, "created": moment, **state}}
    about = {"object": "event", "livemode": False, "api_version": "2026-10-28.endive", "created": moment + second}
    return {"id": f"evt_{state['id']}_{second}", "type": kind, "data": data, **about}


CUSTOMER = stripe_event("customer.created", 0, id="cus_1", object="customer", metadata={"workspace_id": "ws"})
DRAFTED = stripe_event(
    "invoice.created", 1, id="in_1", object="invoice", customer="cus_1", currency="usd", status="draft"
)
CHARGED = stripe_event(
    "charge.succeeded", 1, id="ch_1", object="charge", customer="cus_1", currency="usd", amount_refunded=0
)
DISPUTED = stripe_event(
    *("charge.dispute.created", 2),
    id="dp_1",
    object="dispute",
    charge="ch_1",
    reason="fraudulent",
    status="needs_response",
)
WARNED = stripe_event(
    *("radar.early_fraud_warning.created", 3),
    id="issfr_1",
    object="radar.early_fraud_warning",
    charge="ch_1",
    fraud_type="card_never",
)


def an_answer_beside_an_event(plant: Plant) -> Callable[[], None]:
    """A refetched subscription is merged while events of it arrive."""
    world, _, known = company()
    consume(plant, "consumer", world.events[known:])
    api = SimStripe(plant.world, world)
    subscription = next(o for o in world.objects.values() if o["object"] == "subscription")

    def ask() -> None:
        answer = api.fetch("subscription", subscription["id"])
        refetch.merge_answer(
            plant.store, answer, scope=OWN, object_type="subscription", object_id=subscription["id"], now=PLAYED_AT
        )

    plant.repeat("refetch", ask, until=Unavailable, surely=True)
    return lambda: is_true(plant, world, world.events)


def a_comparison_beside_events(plant: Plant) -> Callable[[], None]:
    """The nightly comparison repairs what it finds, while the last events arrive."""
    world, _, known = company()
    consume(plant, "consumer", world.events[known:])
    api: Any = SimStripe(plant.world, world)
    kinds = ("customer", "subscription")
    plant.repeat(
        "reconcile",
        lambda: reconcile.reconcile(plant.store, api, scope=OWN, now=PLAYED_AT, object_types=kinds),
        until=NilometerError,
    )

    def laws() -> None:
        is_true(plant, world, world.events)
        again = reconcile.reconcile(plant.store, api, scope=OWN, now=PLAYED_AT, object_types=kinds)
        law(not again.drift, f"a second comparison differs: {again.drift}")

    return laws


class _Signing:
    """One secret, never rotated."""

    def current(self) -> tuple[str, ...]:
        return (SECRET,)

    refresh = current


def a_webhook(plant: Plant) -> Callable[[], None]:
    """Stripe delivers until it is answered; a forgery beside it is refused and reaches nobody."""
    world = company()[0]
    client = SimEventBridge(plant.world)
    untyped: Any = client
    bus = Bus(untyped, name="bus")
    plant.world.stores.append(client)
    second = int(plant.world.now.timestamp())
    event = {**world.events[0], "created": second}

    def deliver(body: bytes, signature: str) -> None:
        webhook.receive(body, signature, now=plant.world.now, secrets=_Signing(), bus=bus, objects=plant.objects)

    for name, id_, padding in (("small", "evt_small", ""), ("large", "evt_large", "x" * 210_000)):
        body = json.dumps({**event, "id": id_, "padding": padding}).encode()
        plant.repeat(
            f"Stripe {name}", partial(deliver, body, sign(body, secret=SECRET, timestamp=second)), until=Unavailable
        )
    forged = json.dumps({**event, "id": "evt_forged"}).encode()
    plant.repeat(
        "forger",
        partial(deliver, forged, sign(forged, secret="whsec_other", timestamp=second)),
        until=Rejected,
        times=1,
    )

    def laws() -> None:
        published = {json.loads(entry["Detail"])["id"] for entry in client.taken}
        law(published == {"evt_small", "evt_large"}, f"published {published}")
        claims = [json.loads(e["Detail"]).get("claim") for e in client.taken if "evt_large" in e["Detail"]]
        law(all(claim in plant.s3.kept for claim in claims), "a claim refers to nothing")

    return laws


SCOPES = (
    Scope(
        "two consumers with events of one customer", consumers(lambda e, _, k: [e[k:], e[k + 1 :]]), with_customer, 1
    ),
    Scope("a subscription beside its product", consumers(lambda e, c, _: [e[:c], e[c:]]), faults=1),
    Scope("a subscription before its customer", consumers(lambda e, c, k: [e[k:], e[c:k]]), with_catalog, 1),
    Scope("a refetched object beside its events", an_answer_beside_an_event, with_customer, 1),
    Scope("the comparison with Stripe beside events", a_comparison_beside_events, with_customer, 1),
    Scope("one event, twice alone", one_event_alone, with_customer),
    Scope("one register, twice alone", one_register_alone, lambda plant: played(plant, [CUSTOMER])),
    Scope("an item that DynamoDB refuses, and its neighbours", a_refused_item, with_customer, 1),
    Scope("a fact that DynamoDB refuses, and its neighbours", a_refused_fact, with_customer, 1),
    Scope("a dispute before its charge", disputes, lambda plant: played(plant, [CUSTOMER]), 1),
    Scope("webhooks and a forgery", a_webhook),
)
