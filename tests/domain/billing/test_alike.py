"""A fold takes subscriptions together that are alike, and nobody can tell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.events.plans import CATALOG, SCOPE

from nilometer.domain.billing.group import ACCESS
from nilometer.domain.billing.record.fold import fold
from nilometer.domain.billing.record.inputs import Inputs, with_views
from nilometer.domain.stripe.event import SUMMARY

ITEMS = st.fixed_dictionaries(
    {"product": st.sampled_from(["plan", "add_on", "unknown"]), "price": st.sampled_from(["seat", "odd", "plain"])},
    optional={"quantity": st.sampled_from([0, 1, 5]), "metadata": st.sampled_from([{}, {"seats": "yes"}])},
)
PERIODS = st.lists(st.sampled_from([[100, 200], [200, 300], [150, 250], [300, 400]]), max_size=3)
SUBSCRIPTIONS = st.fixed_dictionaries(
    {
        "object": st.just("subscription"),
        "status": st.sampled_from(["active", "trialing", "past_due", "unpaid", "paused", "canceled", "new"]),
        "created": st.integers(0, 2),
        "items": st.lists(ITEMS, max_size=2),
        "periods": PERIODS,
    }
)
VIEWS = st.dictionaries(st.sampled_from([f"sub_{n:02}" for n in range(40)]), SUBSCRIPTIONS, max_size=40)


@given(VIEWS, VIEWS, st.booleans())
def test_alike_or_not_the_record_is_the_same(one: dict[str, Any], two: dict[str, Any], weak: bool) -> None:
    """Metadata that means nothing makes each subscription unlike any other, and changes nothing of the record but which
    of many add-ons are named."""
    two = {f"{name}_two": view for name, view in two.items()}
    together, apart = _folded([one, two], weak), _folded([_unlike(one), _unlike(two)], weak)

    named, all_named = together.pop("add_ons", []), apart.pop("add_ons", [])

    assert together == apart
    assert set(named) <= set(one) | set(two)
    assert named == all_named or sum(view["status"] in ACCESS for view in (*one.values(), *two.values())) > 21


@pytest.mark.parametrize(
    ("many", "named"),
    [(21, [f"sub_{n:03}" for n in range(1, 21)]), (22, ["sub_001", "sub_002"]), (100, ["sub_001", "sub_002"])],
)
def test_of_many_add_ons_the_first_of_a_kind_is_named(many: int, named: list[str]) -> None:
    """So that a workspace of a thousand subscriptions has a small record."""
    views = {f"sub_{n:03}": {"object": "subscription", "status": "active", "created": -n} for n in range(many)}
    views["sub_002"] |= {"status": "past_due"}

    assert _folded([views], weak=False)["add_ons"] == named


def _folded(customers: list[dict[str, Any]], weak: bool) -> dict[str, Any]:
    claims = {f"{SCOPE}/cus_1": [4, 1, "cs_1"]} if weak else {}
    inputs = Inputs(catalog=CATALOG, claims=claims)
    for number, views in enumerate(customers):
        summary = {"object": SUMMARY, "features": [f"feature_{number}"]}
        inputs = with_views(inputs, f"{SCOPE}/cus_{number}", {**views, "entitlements": summary})
    return fold(inputs)


def _unlike(views: dict[str, Any]) -> dict[str, Any]:
    """Metadata of an item that no price overlays: a name of its own, which the fold does not know."""
    return {
        name: {
            **view,
            "items": [{**item, "metadata": {**item.get("metadata", {}), "x": name}} for item in view["items"]],
        }
        for name, view in views.items()
    }
