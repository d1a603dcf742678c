"""An operator's word on whose customer it is holds against Stripe's metadata, whenever it comes."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.flows.billing_play import play, records, scrambled
from tests.support.flows.company import company
from tests.support.flows.operations import NOW, envelope
from tests.support.stores.engine import new_store

from nilometer import CreateWorkspace, LinkCustomer, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.group import Claim
from nilometer.domain.billing.link import best, operator_claim, with_operator_claim
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.event import Scope
from nilometer.errors import Refused
from nilometer.flows.operations import batch as operations
from nilometer.local.stripe.world import StripeWorld


def linked(customer: str, workspace: str, second: int = 0, id_: str = "l") -> str:
    detail = {
        "specversion": "1.0",
        "id": f"{id_}{second}",
        "source": "/services/console",
        "type": "billing.linked.v1",
        "subject": workspace,
        "time": f"2026-11-23T04:00:{second:02}Z",
        "data": {"customer": customer, "livemode": False},
    }
    return envelope(detail)


def say(store: Store, *bodies: str) -> list[Outcome]:
    messages = [Message(str(n), body) for n, body in enumerate(bodies)]
    unused: Any = None
    return [result.outcome for result in operations.handle(messages, store=store, objects=unused, now=NOW)]


def workspaces(store: Store, *names: str) -> None:
    for name in names:
        perform(store, service(name, "test"), CreateWorkspace(name=name), now=NOW)


def subscribed(workspace: str | None) -> tuple[StripeWorld, str]:
    world, _, price = company()
    customer = world.customer(workspace)
    world.subscribe(customer, [(price, 3)])
    return world, customer


@pytest.mark.parametrize("claimed", [None, "ws_stripe"])
def test_the_word_before_between_or_after_the_events_ends_alike(claimed: str | None, dynamodb: Any) -> None:
    """Also against a link by metadata: the operator's word holds, and the other record has nothing left of it."""
    world, customer = subscribed(claimed)
    ends = []
    for told_at in (0, len(world.events) // 2, len(world.events)):
        store = new_store(dynamodb)
        workspaces(store, "ws_operator")
        play(store, world.events[:told_at])
        assert say(store, linked(customer, "ws_operator"), linked(customer, "ws_operator")) == [
            Outcome.ACCEPTED,
            Outcome.DUPLICATE,
        ]
        play(store, scrambled(world, told_at))
        ends.append({name: one for name, one in records(store).items() if one["customers"]})

    assert ends[0] == ends[1] == ends[2]
    assert set(ends[0]) == {"ws_operator"}
    assert ends[0]["ws_operator"]["limits"] == {"api_calls": 3000}


def test_of_several_words_the_newest_holds(dynamodb: Any) -> None:
    """Whatever order the bus delivers them in."""
    world, customer = subscribed("ws_stripe")
    words = [linked(customer, f"ws_{n}", second=n) for n in range(3)]
    for order in itertools.permutations(words):
        store = new_store(dynamodb)
        workspaces(store, "ws_0", "ws_1", "ws_2")
        play(store, world.events)
        say(store, *order)

        assert {name for name, one in records(store).items() if one["customers"]} == {"ws_2"}


def test_a_workspace_that_nobody_knows_is_not_linked(store: Store) -> None:
    """The bus may deliver its creation later: the event comes again, and nothing is written."""
    assert say(store, linked("cus_1", "ws")) == [Outcome.WAITING]

    workspaces(store, "ws")

    assert say(store, linked("cus_1", "ws")) == [Outcome.ACCEPTED]
    assert records(store)["ws"]["customers"] == ["cus_1"]


def test_linking_by_the_library(store: Store) -> None:
    """Once; again changes nothing; another workspace takes the customer along."""
    workspaces(store, "ws_a", "ws_b")
    key = keys.link("self", False, "cus_1")

    def link(workspace: str, later: int = 0) -> int:
        now = NOW + timedelta(seconds=later)
        perform(
            store,
            service(workspace, "ada"),
            LinkCustomer(customer="cus_1", account=Scope().account, livemode=Scope().livemode),
            now=now,
        )
        return int((store.get(Table.RECORDS, key) or {})["version"])

    assert [link("ws_a"), link("ws_a", 1), link("ws_b", 2)] == [1, 1, 2]
    assert {name for name, one in records(store).items() if one["customers"]} == {"ws_b"}
    with pytest.raises(Refused):
        link("ws_unknown")


def test_the_sample_is_a_link() -> None:
    """What events/operations shows names a customer, its mode and a workspace."""
    detail = json.loads(linked("cus_1", "ws"))["detail"]

    assert operations._decode(envelope(detail)).deed.customer == "cus_1"


WORDS = st.lists(
    st.builds(
        lambda ws, ms, origin: operator_claim(ws, at=NOW + timedelta(milliseconds=ms), origin=origin),
        st.sampled_from(["ws_a", "ws_b"]),
        st.integers(0, 3),
        st.text("ab", min_size=1, max_size=2),
    ),
    min_size=1,
    unique_by=lambda claim: (claim.created, claim.object_id),
)


@given(words=WORDS, data=st.data())
def test_words_in_any_order_and_number(words: list[Claim], data: st.DataObject) -> None:
    """Any permutation with any duplicates ends in the same claims, and beats what Stripe's objects claim."""
    stripe = {"cus_1": Claim(0, 0, "cus_1", "ws_stripe")}

    def said(order: list[Claim]) -> dict[str, Claim]:
        claims = stripe
        for one in order:
            claims = with_operator_claim(claims, one)
        return claims

    shuffled = data.draw(st.permutations(words + data.draw(st.lists(st.sampled_from(words)))))

    assert said(shuffled) == said(words)
    assert best(said(words)) != "ws_stripe"
