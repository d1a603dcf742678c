"""Snapshots of older API versions mean the same as today's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.project import ROOT

from nilometer.domain.stripe.event import normalise, overlay
from nilometer.domain.stripe.registers.register import project

FIXTURES = ROOT.parent / "shared" / "fixtures" / "stripe" / "fixtures3.json"
VERSIONS = ["2020-08-27", "2022-11-15", "2024-06-20", "2025-02-24.acacia"]

ITEM = {"id": "si_1", "quantity": 2, "price": {"id": "price_1", "product": "prod_1"}}
NEW: dict[str, Any] = {
    "id": "sub_1",
    "object": "subscription",
    "status": "active",
    "items": {"data": [{**ITEM, "current_period_start": 1, "current_period_end": 2}]},
}
OLD: dict[str, Any] = {**NEW, "items": {"data": [ITEM]}, "current_period_start": 1, "current_period_end": 2}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_period_moved_to_the_items(version: str) -> None:
    """basil, 2025-03-31."""
    assert project(normalise(OLD, version)) == project(normalise(NEW, "2026-10-28.endive"))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_subscription_of_an_invoice_moved_to_its_parent(version: str) -> None:
    """basil, 2025-03-31."""
    old = {"id": "in_1", "object": "invoice", "status": "open", "subscription": "sub_1"}

    assert project(normalise(old, version))["subscription"] == "sub_1"


def test_an_item_with_a_plan_alone() -> None:
    """Before 2020-08-27 there was no price; a plan has the same id."""
    old = {**NEW, "items": {"data": [{"id": "si_1", "plan": {"id": "price_1", "product": "prod_1"}}]}}

    assert project(normalise(old, "2020-03-02"))["items"] == [{"id": "si_1", "price": "price_1", "product": "prod_1"}]


@pytest.mark.parametrize("snapshot", [NEW, OLD], ids=["new", "old"])
def test_normalising_twice_is_normalising_once(snapshot: dict[str, Any]) -> None:
    """Also when the version is unknown."""
    once = normalise(snapshot, None)

    assert normalise(once, None) == once


def test_the_overlay_is_the_object_before() -> None:
    """Hashes by key, arrays whole, null for what was not there."""
    after = {"a": 1, "hash": {"x": 1, "y": 2}, "list": [1, 2], "new": 5}

    assert overlay(after, {"a": 0, "hash": {"y": 9}, "list": [1], "new": None}) == {
        "a": 0,
        "hash": {"x": 1, "y": 9},
        "list": [1],
        "new": None,
    }


@pytest.mark.skipif(not FIXTURES.exists(), reason="Stripe's published fixtures are not beside the project")
def test_every_resource_of_stripe_is_projected() -> None:
    """No resource breaks the projection, and none brings personal data into a register."""
    for name, resource in json.loads(FIXTURES.read_text())["resources"].items():
        if isinstance(resource, dict) and "object" in resource:
            kept = json.dumps(project(normalise(resource, None)), default=str)
            assert not [word for word in ("email", "phone", "line1", "4242", "jenny") if word in kept], name


@pytest.mark.parametrize(
    ("price", "kept"),
    [
        ({"currency": "eur", "unit_amount": 4900}, {"currency": "eur", "unit_amount": 4900}),
        ({"currency": "usd", "unit_amount": 5300}, {"currency": "eur"}),
        ({"currency": "eur", "unit_amount": 900, "transform_quantity": {"divide_by": 5}}, {"currency": "eur"}),
        ({"currency": "eur", "unit_amount": None, "unit_amount_decimal": "0.5"}, {"currency": "eur"}),
    ],
)
def test_the_unit_amount_is_what_one_unit_costs(price: dict[str, Any], kept: dict[str, Any]) -> None:
    """Of a subscription in euros. A price with currency options shows the amount in its own currency."""
    item = {"id": "si_1", "quantity": 2, "price": {"id": "price_1", **price}}
    told = {"id": "sub_1", "object": "subscription", "currency": "eur", "items": {"data": [item]}}

    [found] = project(told)["items"]

    assert {name: found[name] for name in ("currency", "unit_amount") if name in found} == kept
