"""True state in common set-ups: several subscriptions, workspaces and payers, sent invoices, deleted customers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.billing_play import in_any_order, play, records
from tests.support.flows.company import company

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.record.fold import record_item
from nilometer.domain.billing.record.inputs import Inputs
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.flows.billing.reading import billing_of
from nilometer.flows.billing.summary import lines
from nilometer.local.stripe.world import StripeWorld


def with_add_on(**metadata: str) -> tuple[StripeWorld, str, str]:
    """A base plan of three seats and, a day later, an add-on: (world, base, add-on)."""
    world, _, price = company()
    customer = world.customer("ws")
    base = world.subscribe(customer, [(price, 3)])
    world.advance(timedelta(days=1))
    extra = world.price(world.product("Exports", {"limit_exports": "10", "limit_api_calls": "500", **metadata}), 900)
    return world, base, world.subscribe(customer, [(extra, 1)])


def test_base_and_add_on_add_up(dynamodb: Any) -> None:
    """Limits of both; plan, seats and status of the base, whose products name a plan, though the add-on is newer."""
    world, base, add_on = with_add_on()

    record = in_any_order(dynamodb, world.events)["ws"]

    assert (record["plan"], record["seats"], record["subscription"]) == ("papyrus", 3, base)
    assert (record["limits"], record["add_ons"]) == ({"api_calls": 3500, "exports": 10}, [add_on])


def test_metadata_says_what_is_an_add_on(dynamodb: Any) -> None:
    """Also when it names a plan, and when the base is past due."""
    world, base, add_on = with_add_on(addon="true", plan="exports", seats="yes")
    world.advance(timedelta(days=40))
    world.fail_payment(base)

    record = in_any_order(dynamodb, world.events)["ws"]

    assert (record["plan"], record["seats"], record["status"]) == ("papyrus", 4, "past_due")
    assert record["add_ons"] == [add_on]


def test_what_has_ended_adds_nothing(dynamodb: Any) -> None:
    """The add-on is cancelled: the base alone."""
    world, base, add_on = with_add_on()
    world.cancel(add_on)

    record = in_any_order(dynamodb, world.events)["ws"]

    assert (record["limits"], record["subscription"], record["add_ons"]) == ({"api_calls": 3000}, base, [])


def for_two_workspaces() -> tuple[StripeWorld, dict[str, str]]:
    """One customer without metadata, two subscriptions with their own: (world, workspace → subscription)."""
    world, _, price = company()
    customer = world.customer()
    found = {}
    for workspace, seats in (("ws_1", 3), ("ws_2", 6)):
        found[workspace] = world.subscribe(customer, [(price, seats)])
        world.update(found[workspace], metadata={"workspace_id": workspace})
        world.advance(timedelta(days=1))
    return world, found


def test_one_customer_pays_for_two_workspaces(dynamodb: Any) -> None:
    """Each has its own seats, periods and invoices; the payment method is of both."""
    world, found = for_two_workspaces()
    world.advance(timedelta(days=40))
    world.fail_payment(found["ws_2"])

    told = in_any_order(dynamodb, world.events, orders=8)

    assert {ws: (told[ws]["seats"], told[ws]["subscription"]) for ws in told} == {
        "ws_1": (3, found["ws_1"]),
        "ws_2": (6, found["ws_2"]),
    }
    assert (told["ws_1"]["dunning"], told["ws_1"]["access"]) == (None, "full")
    assert (told["ws_2"]["dunning"]["attempts"], told["ws_2"]["access"]) == (1, "grace")
    assert told["ws_1"]["payment_method"] == told["ws_2"]["payment_method"]


def test_a_subscription_moves_to_another_workspace(dynamodb: Any) -> None:
    """Its metadata changes; the other workspace keeps what it has."""
    world, found = for_two_workspaces()
    world.update(found["ws_2"], metadata={"workspace_id": "ws_3"})
    world.change_quantity(found["ws_2"], 8)

    told = in_any_order(dynamodb, world.events, orders=8)

    assert {ws: one["seats"] for ws, one in told.items()} == {"ws_1": 3, "ws_3": 8}


def test_the_customer_s_own_metadata_takes_all(dynamodb: Any) -> None:
    """Both subscriptions pay for the workspace that the customer names."""
    world, found = for_two_workspaces()
    [customer] = {str(world.objects[subscription]["customer"]) for subscription in found.values()}
    world.update(customer, metadata={"workspace_id": "ws"})

    told = in_any_order(dynamodb, world.events, orders=8)

    assert set(told) == {"ws"}
    assert told["ws"]["limits"] == {"api_calls": 9000}


def test_facts_name_the_workspace_of_their_subscription(store: Store) -> None:
    """Of a customer that pays for two."""
    world, found = for_two_workspaces()
    play(store, world.events)
    before = len(world.events)
    world.change_quantity(found["ws_2"], 9)
    play(store, world.events[before:])

    wanted = {event["id"] for event in world.events[before:] if event["data"]["object"]["id"] == found["ws_2"]}
    facts = [fact for fact in store.scan(Table.EVENTS) if fact["event_id"] in wanted]

    assert {fact["workspace_id"] for fact in facts} == {"ws_2"}


def test_several_payers_are_named(dynamodb: Any) -> None:
    """Two customers of the platform's own metadata: both count, and the record says so."""
    world, _, price = company()
    payers = [world.customer("ws") for _ in range(2)]
    for payer in payers:
        world.subscribe(payer, [(price, 2)])

    record = in_any_order(dynamodb, world.events)["ws"]

    assert record["limits"] == {"api_calls": 4000}
    assert record["payers"] == sorted(f"self/test/{payer}" for payer in payers)


def test_a_sent_invoice_that_fell_due_begins_grace(dynamodb: Any) -> None:
    """Nobody tried to charge it: grace counts from the day on which it was due."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    world.advance(timedelta(days=40))
    due = world.second - 86_400
    world.fail_payment(subscription)
    for event in world.events:
        snapshot = event["data"]["object"]
        if snapshot["object"] == "invoice" and snapshot["status"] == "open":
            snapshot |= {"attempt_count": 0, "next_payment_attempt": None, "due_date": due}
            (event["data"].get("previous_attributes") or {}).pop("attempt_count", None)

    record = in_any_order(dynamodb, [e for e in world.events if e["type"] != "invoice.payment_failed"])["ws"]

    assert (record["access"], record["dunning"]["since"], record["dunning"]["stage"]) == ("grace", due, "overdue")


def test_a_deleted_customer_has_no_access(store: Store, dynamodb: Any) -> None:
    """Though the end of its subscription was lost: it is in doubt, and Stripe is asked for it."""
    world, _, price = company()
    customer = world.customer("ws")
    subscription = world.subscribe(customer, [(price, 1)])
    world.advance(timedelta(days=1))
    before = len(world.events)
    world.delete_customer(customer)
    lost = {"customer.subscription.deleted", "customer.subscription.updated"}
    events = [event for n, event in enumerate(world.events) if n < before or event["type"] not in lost]

    record = in_any_order(dynamodb, events)["ws"]
    play(store, events)

    assert (record["access"], record["status"], record["in_doubt"]) == ("none", "canceled", [subscription])
    assert [item["object_id"] for item in store.scan(Table.RECORDS, kind="refetch")] == [subscription]
    play(store, world.events)
    assert records(store)["ws"]["in_doubt"] == []


def test_more_items_than_an_event_shows_are_said(store: Store) -> None:
    """The record names the subscription as incomplete until Stripe has listed all of its items."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    for event in world.events:
        if event["data"]["object"].get("id") == subscription:
            event["data"]["object"]["items"]["has_more"] = True

    play(store, world.events)

    assert records(store)["ws"]["incomplete"] == [subscription]
    assert [item["object_id"] for item in store.query_index("REFETCH")] == [subscription]


PAID = record_item(
    keys.billing("ws"), Inputs(), workspace_id="ws", version=1, cause="evt", updated_at="2026-11-23T12:00:00Z"
)


def told(**fields: Any) -> dict[str, str]:
    """By label, what has something to say."""
    return {label: text for label, text in lines({**billing_of(PAID), **fields}) if text}


@pytest.mark.parametrize(
    ("field", "label", "names", "advice"),
    [
        ({"mode": "test"}, "test mode", "", "real money"),
        ({"add_ons": ["sub_2"]}, "add-ons", "sub_2", "added to the base's"),
        ({"payers": ["self/live/cus_2"]}, "payers", "cus_2", "nilometer billing link"),
        ({"conflicts": [{"customer": "self/live/cus_3"}]}, "conflicts", "cus_3", "nilometer billing conflicts"),
        ({"in_doubt": ["sub_1"]}, "in doubt", "sub_1", "nilometer reconcile"),
        ({"incomplete": ["sub_1"]}, "incomplete", "sub_1", "nilometer reconcile"),
        ({"unreadable": {"in_1": ["attempt_count"]}}, "unreadable", "in_1 (attempt_count)", "correct them at Stripe"),
        ({"unreadable_limits": ["api"]}, "limits?", "api", "correct the metadata at Stripe"),
    ],
)
def test_each_doubt_is_a_line_with_what_to_do(field: dict[str, Any], label: str, names: str, advice: str) -> None:
    """And nothing is said of what is in order."""
    assert label not in told()

    said = told(**field)[label]

    assert names in said
    assert advice in said


def test_what_pays_is_a_sentence() -> None:
    """Type, id and when it expires; a method that Stripe tells less of has less."""
    card = {"id": "pm_1", "type": "card", "exp_month": 8, "exp_year": 2030}

    assert told(payment_method=card)["pays by"] == "card pm_1, expires 8/2030"
    assert told(payment_method={"id": "pm_2", "type": "sepa_debit"})["pays by"] == "sepa_debit pm_2"
    assert "pays by" not in told(payment_method=None)
