"""Fields of a sample event that are set by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nilometer.local.stripe.assignments import assign

NAMES = st.text("abcxyz_0123456789", min_size=1, max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda below: st.lists(below) | st.dictionaries(NAMES, below)
)


def made(*assignments: str, **fields: Any) -> Any:
    event = {"data": {"object": fields}}
    assign(event, assignments)
    return event["data"]["object"]


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("status=past_due", {"status": "past_due"}),
        ("quantity=5", {"quantity": 5}),
        ("active=false", {"active": False}),
        ("trial_end=null", {"trial_end": None}),
        ('code="5"', {"code": "5"}),
        ("note=", {"note": ""}),
        ("note=a=b", {"note": "a=b"}),
        ("ratio=NaN", {"ratio": "NaN"}),
        ('metadata={"plan": "gold"}', {"metadata": {"plan": "gold"}}),
        ("metadata.plan=gold", {"metadata": {"plan": "gold"}}),
        ("items.data.0.quantity=5", {"items": {"data": [{"quantity": 5}]}}),
    ],
)
def test_a_value_is_json_or_text_and_its_path_is_created(assignment: str, expected: Any) -> None:
    """Numbers, null and objects as JSON has them; what is none is text."""
    assert made(assignment) == expected


def test_later_assignments_win_and_the_rest_stays() -> None:
    """One by one, in order; a list grows by one at its end."""
    fields = {"items": {"data": [{"quantity": 1, "id": "si_1"}]}, "discount": None, "status": "active"}

    found = made(
        "items.data.0.quantity=2", "items.data.0.quantity=3", "items.data.1.id=si_2", "discount.id=d", **fields
    )

    items = {"data": [{"quantity": 3, "id": "si_1"}, {"id": "si_2"}]}
    assert found == {"items": items, "discount": {"id": "d"}, "status": "active"}


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("status", "'status' sets nothing; write PATH=VALUE"),
        ("=active", "sets nothing"),
        ("a..b=1", "sets nothing"),
        ("status.code=1", "status is no object and no list, so it has no 'code'"),
        ("lines.3=1", "lines is a list of 1, so '3' is no place in it"),
        ("lines.first=1", "'first' is no place in it"),
        ("lines.-1=1", "'-1' is no place in it"),
    ],
)
def test_a_wrong_form_is_a_sentence(assignment: str, said: str) -> None:
    """It names the form, or the place where the path ends."""
    with pytest.raises(ValueError, match=said):
        made(assignment, status="active", lines=[1])


@given(st.lists(NAMES, min_size=1, max_size=4), VALUES)
def test_what_is_set_is_read_back(names: list[str], value: Any) -> None:
    """Whatever the path and the JSON value, where nothing was before."""
    found = made(f"{'.'.join(names)}={json.dumps(value)}")

    for name in names:
        found = found[int(name)] if isinstance(found, list) else found[name]
    assert found == value
