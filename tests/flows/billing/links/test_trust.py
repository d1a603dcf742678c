"""Who may say which workspace pays: what a buyer or a stranger writes changes nobody's plan. In any order."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.billing_play import in_any_order, play, records
from tests.support.flows.company import company

from nilometer import CreateWorkspace, LinkCustomer, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.link import SESSIONS, Trust, trust_of
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.event import Scope
from nilometer.errors import Misconfigured
from nilometer.flows.billing import reading
from nilometer.local.stripe.world import StripeWorld

Events = list[dict[str, Any]]


def bought_by_link(world: StripeWorld, workspace_id: str, price: str, seats: int = 1) -> str:
    """A stranger's purchase by a Payment Link with `?client_reference_id=`: the subscription."""
    before = len(world.events)
    subscription = world.checkout(workspace_id, [(price, seats)])
    for event in world.events[before:]:
        snapshot = event["data"]["object"]
        snapshot["metadata"] = {}
        if snapshot["object"] == "checkout.session":
            snapshot["client_reference_id"] = workspace_id
    return subscription


def customer_of(world: StripeWorld, subscription: str) -> str:
    return str(world.objects[subscription]["customer"])


@pytest.fixture
def hijack() -> tuple[StripeWorld, str, str]:
    """The victim pays for 50 seats; later a stranger buys the cheapest plan with the victim's workspace id, and
    disputes the payment: (world, the victim's subscription, the stranger's)."""
    world, _, price = company()
    victim = world.subscribe(world.customer("ws"), [(price, 50)])
    world.advance(timedelta(days=1))
    cheap = world.price(world.product("Cheap", {"limit_api_calls": "10", "plan": "cheap"}), 100)
    stranger = bought_by_link(world, "ws", cheap)
    world.advance(timedelta(days=1))
    return world, victim, stranger


def disputed(world: StripeWorld, subscription: str) -> Events:
    """A lost dispute of the subscription's charge."""
    customer = customer_of(world, subscription)
    charge = next(
        o for o in world.objects.values() if o["object"] == "charge" and o["customer"] == customer and o["paid"]
    )
    dispute = {"id": "dp_1", "object": "dispute", "charge": charge["id"], "status": "lost", "created": world.second}
    world.emit("charge.dispute.closed", dispute)
    return world.events


def test_a_stranger_takes_over_no_workspace(dynamodb: Any, hijack: tuple[StripeWorld, str, str]) -> None:
    """Neither with the plan, nor with the lost dispute: the purchase is a conflict."""
    world, victim, stranger = hijack

    found = in_any_order(dynamodb, disputed(world, stranger))

    record, name = found["ws"], customer_of(world, stranger)
    assert (record["subscription"], record["plan"], record["limits"]) == (victim, "papyrus", {"api_calls": 50_000})
    assert (record.get("risk"), record["customers"]) == (None, [customer_of(world, victim)])
    assert [one["customer"] for one in record["conflicts"]] == [f"self/test/{name}"]


def test_an_operator_decides_a_conflict(store: Store, hijack: tuple[StripeWorld, str, str]) -> None:
    """For the workspace, then both count; or for another one, then it is gone."""
    world, victim, stranger = hijack
    play(store, world.events)
    for workspace in ("ws", "ws_other"):
        perform(store, service(workspace, "test"), CreateWorkspace(name=workspace), now=world.now)
    buyer = customer_of(world, stranger)

    perform(
        store,
        service("ws", "operator"),
        LinkCustomer(customer=buyer, livemode=False),
        now=world.now,
    )
    together = records(store)["ws"]
    perform(
        store,
        service("ws_other", "operator"),
        LinkCustomer(customer=buyer, livemode=False),
        now=world.now + timedelta(seconds=1),
    )
    apart = records(store)

    assert (together["conflicts"], together["limits"]) == ([], {"api_calls": 50_010})
    assert [together["subscription"], *together["add_ons"]] == [stranger, victim], "the newer is the base"
    assert (apart["ws"]["conflicts"], apart["ws"]["subscription"]) == ([], victim)
    assert apart["ws_other"]["plan"] == "cheap"


def test_who_pays_first_by_a_link_is_linked(dynamodb: Any) -> None:
    """A workspace without a customer: the reference is all there is, and it stays when the platform adds another
    customer later."""
    world, _, price = company()
    first = bought_by_link(world, "ws", price, 3)
    world.advance(timedelta(days=1))
    second = bought_by_link(world, "ws", price, 9)
    world.advance(timedelta(days=1))
    world.subscribe(world.customer("ws"), [(price, 2)])

    record = in_any_order(dynamodb, world.events)["ws"]

    assert record["limits"] == {"api_calls": 5000}
    assert [one["customer"] for one in record["conflicts"]] == [f"self/test/{customer_of(world, second)}"]
    assert f"{customer_of(world, first)}" in record["customers"]


def test_a_base_of_the_platform_s_customer_goes_before_a_buyer_s(dynamodb: Any) -> None:
    """Also when the buyer was first: the name of the plan is not for a buyer to choose."""
    world, _, price = company()
    cheap = world.price(world.product("Cheap", {"limit_api_calls": "10", "plan": "cheap"}), 100)
    stranger = bought_by_link(world, "ws", cheap)
    world.advance(timedelta(days=1))
    world.subscribe(world.customer("ws"), [(price, 1)])
    world.advance(timedelta(days=1))
    world.change_quantity(stranger, 2)

    record = in_any_order(dynamodb, world.events)["ws"]

    assert (record["plan"], record["limits"]) == ("papyrus", {"api_calls": 1010})


def test_a_connected_account_names_no_workspace(dynamodb: Any, store: Store) -> None:
    """Its own free subscription with our workspace id gives nothing, and is visible; configured, it does."""
    connected, _, price = company(account="acct_reed")
    connected.subscribe(connected.customer("ws"), [(price, 1000)])

    refused = in_any_order(dynamodb, connected.events)
    trusted = in_any_order(dynamodb, connected.events, trust=trust_of("self/live, acct_reed/test"))
    perform(store, service("ws", "test"), CreateWorkspace(name="ws"), now=connected.now)
    play(store, connected.events)
    [customer] = [o["id"] for o in connected.objects.values() if o["object"] == "customer"]
    perform(
        store,
        service("ws", "operator"),
        LinkCustomer(customer=customer, account="acct_reed", livemode=False),
        now=connected.now,
    )

    assert ("ws" in refused, refused[None]["refused_claims"]) == (False, ["ws"])
    assert trusted["ws"]["seats"] == 1000
    assert records(store)["ws"]["seats"] == 1000, "an operator's word holds everywhere"


def test_test_mode_gives_nothing_on_a_stack_that_is_for_live(dynamodb: Any) -> None:
    """The same account, in the mode that is not named."""
    world, _, price = company()
    world.subscribe(world.customer("ws"), [(price, 1)])

    found = in_any_order(dynamodb, world.events, trust=trust_of("self/live"))

    assert ("ws" in found, found[None]["refused_claims"], found[None]["mode"]) == (False, ["ws"], "test")


def test_trust_that_changes_takes_effect_with_the_next_event(store: Store) -> None:
    """The customer moves into its workspace, with all that it has."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    play(store, world.events, trust=trust_of("self/live"))
    world.advance(timedelta(days=1))
    before = len(world.events)
    world.change_quantity(subscription, 2)

    play(store, world.events[before:])

    assert set(records(store)) == {"ws"}
    assert records(store)["ws"]["seats"] == 2


@pytest.mark.parametrize("wrong", ["self", "self/both", "live", "/live", "self/live;acct/test"])
def test_a_scope_that_is_none_is_an_error(wrong: str) -> None:
    """At the start, not silently at each event."""
    with pytest.raises(Misconfigured, match="a scope is an account and a mode"):
        trust_of(wrong)


def test_scopes() -> None:
    """By name, or any account of a mode."""
    assert trust_of("*/live").names(Scope(account="acct_1", livemode=True))
    assert not trust_of("*/live").names(Scope(account="acct_1", livemode=False))
    assert not Trust().names(Scope(account="acct_1", livemode=True))


def test_explain_shows_the_claims(store: Store, hijack: tuple[StripeWorld, str, str]) -> None:
    """With their rank, who wrote them, and which decided."""
    world, victim, stranger = hijack
    play(store, world.events)

    [told] = reading.explain_object(store, customer_of(world, victim))
    claim = told["claims"][0]
    other = next(reading.explain_object(store, customer_of(world, stranger)))["claims"][0]

    assert (claim["workspace"], claim["rank"], claim["decides"]) == ("ws", 0, True)
    assert (other["rank"], other["written_by"], other["outcome"]) == (
        4,
        "client_reference_id, which a buyer can write",
        "conflict",
    )


def test_conflicts_are_listed(store: Store, hijack: tuple[StripeWorld, str, str]) -> None:
    """With what to do, beside claims that were refused."""
    world, _, stranger = hijack
    connected, _, price = company(account="acct_reed")
    connected.subscribe(connected.customer("ws_2"), [(price, 1)])
    play(store, [*world.events, *connected.events])

    found = {one["workspace"]: one for one in reading.list_conflicts(store)}

    assert found["ws"]["customer"] == customer_of(world, stranger)
    assert (found["ws_2"]["account"], found["ws_2"]["reason"]) == ("acct_reed", "refused")
    assert json.dumps(found)


def test_an_old_link_keeps_its_workspace(store: Store) -> None:
    """A session that was read before its sources were told apart counts as it did."""
    world, _, price = company()
    subscription = bought_by_link(world, "ws", price)
    play(store, world.events)
    key = keys.link("self", False, customer_of(world, subscription))
    link = store.get(Table.RECORDS, key, consistent=True)
    assert link
    claims = {name: [1, *claim[1:]] for name, claim in link["claims"].items()}
    store.put_all(Table.RECORDS, [{**link, "claims": claims}])
    world.advance(timedelta(days=1))
    before = len(world.events)
    world.change_quantity(subscription, 4)

    play(store, world.events[before:])

    assert records(store)["ws"]["seats"] == 4


def test_a_link_keeps_the_oldest_sessions(store: Store, dynamodb: Any) -> None:
    """A customer who buys by Checkout every day: the link does not grow, in any order the oldest decides, and what is
    bought later counts."""
    world, _, price = company()
    customer = world.customer()
    for n in range(70):
        told = {"customer": customer, "client_reference_id": "acme" if n < 60 else f"ws_{n}", "metadata": {}}
        world.create({"id": f"cs_{n:02}", "object": "checkout.session", "created": world.second, **told})
        world.advance(timedelta(hours=1))
    world.subscribe(customer, [(price, 3)])

    record = in_any_order(dynamodb, world.events)["acme"]
    play(store, world.events)

    link = store.get(Table.RECORDS, keys.link("self", False, customer))
    assert link is not None
    assert (record["seats"], record["customers"]) == (3, [customer])
    assert sorted(link["claims"]) == [f"cs_{n:02}" for n in range(SESSIONS)]
