"""An event says the same in every API version, so that histories of mixed versions are histories of one."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.events.stripe import event, merged
from tests.support.events.versions import TODAY, VERSIONS, invoice_of, rendered

from nilometer.domain.stripe.event import StripeEvent, normalise
from nilometer.domain.stripe.registers.register import project
from nilometer.domain.stripe.registers.resolve import resolve


def line(number: int, **changed: Any) -> dict[str, Any]:
    """One that a subscription's item is billed by, with tax."""
    details = {"subscription": "sub_1", "subscription_item": f"si_{number}", "proration": False, "invoice_item": None}
    return {
        "id": f"il_{number}",
        "object": "line_item",
        "amount": 4_900,
        "currency": "eur",
        "quantity": 1,
        "discount_amounts": [{"amount": 100, "discount": "di_1"}],
        "parent": {"type": "subscription_item_details", "subscription_item_details": details},
        "period": {"start": 100, "end": 200},
        "pricing": {"type": "price_details", "price_details": {"price": "price_1", "product": "prod_1"}},
        "taxes": [{"amount": 700, "tax_behavior": "exclusive"}, {"amount": 31, "tax_behavior": "exclusive"}],
    } | changed


def proration(number: int) -> dict[str, Any]:
    details = {"subscription": "sub_1", "subscription_item": "si_1", "proration": True, "invoice_item": "ii_1"}
    return line(
        number,
        amount=-100,
        parent={"type": "subscription_item_details", "subscription_item_details": details},
        taxes=[],
    )


def by_hand(number: int) -> dict[str, Any]:
    """An invoice item without a price, of no subscription."""
    details = {"invoice_item": "ii_2", "proration": False, "subscription": None}
    parent = {"type": "invoice_item_details", "invoice_item_details": details}
    return line(number, pricing=None, taxes=None, discount_amounts=[], parent=parent)


LINES: list[list[dict[str, Any]]] = [
    [],
    [line(1)],
    [line(1, pricing={"type": "price_details", "price_details": {"price": "price_2", "product": "prod_1"}})],
    [line(1, taxes=[])],
    [line(1), proration(2)],
    [line(1), proration(2), by_hand(3)],
]
PARENT = {"type": "subscription_details", "subscription_details": {"subscription": "sub_1", "metadata": {}}}
FINAL = ["paid", "void"]


def told(kind: str, second: int, now: dict[str, Any], before: dict[str, Any] | None = None) -> StripeEvent:
    shown = {**now, "parent": PARENT, "total": 4_900, "currency": "eur"}
    return event(f"invoice.{kind}", second, before, **shown)


@st.composite
def histories(draw: st.DrawFn) -> list[StripeEvent]:
    """Of an invoice: several changes a second, often back to where it was; its creation may be unknown."""
    second = 100
    now: dict[str, Any] = {"status": "draft", "attempt_count": 0, "lines": {"data": LINES[1], "has_more": False}}
    events = [told("created", second, now)]
    for wait, kind in draw(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), max_size=9)):
        second += wait
        if kind == 9:
            events.append(told("upcoming", second, now))
            continue
        change: dict[str, Any] = (
            {"lines": {"data": LINES[kind], "has_more": False}}
            if kind < len(LINES)
            else {"status": "open"}
            if kind == 6
            else {"attempt_count": kind - 6}
        )
        before = {name: now[name] for name in change if now[name] != change[name]}
        now = now | change
        events.append(told("updated", second, now, before))
    if draw(st.booleans()):
        before, now = {"status": now["status"]}, now | {"status": draw(st.sampled_from(FINAL))}
        events.append(told(now["status"], second, now, before))
    return events[1:] if draw(st.booleans()) and len(events) > 1 else events


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("lines", LINES, ids=lambda lines: f"{len(lines)} lines")
def test_lines_of_an_invoice_are_kept_in_every_version(version: str, lines: list[dict[str, Any]]) -> None:
    """Price, product, subscription, its item, proration and tax: they moved in 2025-03-31.basil."""
    invoice = {"id": "in_1", "object": "invoice", "parent": PARENT, "lines": {"data": lines, "has_more": False}}
    kept = project(normalise(invoice, TODAY))

    assert project(normalise(invoice_of(invoice, version), version)) == kept
    assert project(normalise(invoice_of(invoice, version), None)) == kept
    assert [one.get("tax") for one in kept.get("lines", ())] == [
        sum(tax["amount"] for tax in one["taxes"] or ()) or None for one in lines
    ]


@settings(max_examples=300, deadline=None)
@given(histories(), st.lists(st.sampled_from(VERSIONS), min_size=12, max_size=12), st.randoms(use_true_random=False))
def test_versions_do_not_matter(history: list[StripeEvent], versions: list[str], chance: random.Random) -> None:
    """In any order, twice, each event by any version, two versions of one event too: the register is the same."""
    scrambled = [rendered(one, version) for one, version in zip(history, versions, strict=False)]
    scrambled += [rendered(one, chance.choice(VERSIONS)) for one in chance.choices(history, k=4)]
    chance.shuffle(scrambled)

    assert merged(scrambled) == merged(history)
    assert resolve(merged(scrambled)) == resolve(merged(history))


@settings(max_examples=200, deadline=None)
@given(histories(), histories(), st.sampled_from([one for one in VERSIONS if one < "2025-03-31"]))
def test_a_register_from_before_a_rule_ends_true_or_in_doubt(
    before: list[StripeEvent], after: list[StripeEvent], version: str
) -> None:
    """What an older rule made of an old shape is another state: a later event is never mistaken for it."""
    earlier = [
        replace(rendered(one, version), api_version=TODAY) for one in before if one.object["status"] not in FINAL
    ]
    later = [replace(rendered(one, version), created=one.created + 100) for one in after]
    found, true = resolve(merged([*earlier, *later])), resolve(merged(later))

    assert found
    assert true
    assert found.ambiguous or found.state == true.state
