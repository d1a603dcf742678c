"""Limits in Stripe's metadata: whatever stands there, reading it is quick and never costs the payer the others."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.acts import NOW

from nilometer.domain.limits.limit import Limit, State, state_of
from nilometer.domain.limits.plan import limits_of, problems, total

HOSTILE = [
    "1e5000",
    "1e999999",
    "1e300",
    "9" * 39,
    "1e-200",
    "9" * 5000,
    "nan",
    "Infinity",
    "-1",
    "",
    "many",
    "5/seat/seat",
    '{"included": 1e400}',
    '{"included": ' + "9" * 5000 + "}",
    '{"included": true}',
    '{"included": []}',
    "[" * 100_000,
    '{"a":' * 3000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:20])
def test_what_is_out_of_bounds_is_named_and_spoils_no_other(text: str) -> None:
    """Before it becomes a number: 1e999999 would take a minute."""
    metadata = {"limit_calls": text, "limit_pages": "100"}

    assert limits_of(metadata) == {"pages": {"included": 100}}
    assert problems(metadata) == ["calls"]


@pytest.mark.parametrize(
    "field",
    [{"thresholds": "x"}, {"thresholds": [0]}, {"overage": 5}, {"grace": 1.5}, {"grace": "soon"}, {"thresholds": []}],
    ids=str,
)
def test_a_field_of_a_wrong_type_is_named_and_the_amounts_count(field: dict[str, Any]) -> None:
    """The customer keeps the limit that he pays for; the operator sees what to correct."""
    metadata = {"limit_calls": json.dumps({"included": 5, **field})}

    assert limits_of(metadata) == {"calls": {"included": 5}}
    assert problems(metadata) == ["calls"]


@given(
    st.dictionaries(st.text(max_size=20), st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans()))
)
def test_no_metadata_makes_reading_fail(values: dict[str, Any]) -> None:
    """Whatever a person types: it is a limit that fits DynamoDB's numbers, or it is named."""
    metadata = {f"limit_{name}": str(value) for name, value in values.items()} | {"limits": json.dumps(values)}

    for limit in limits_of(metadata).values():
        included = total([(limit, 10**9, 10**9)], "plan").get("included")
        assert included is None or Decimal(included).adjusted() < 38
    assert all(isinstance(name, str) for name in problems(metadata))


@pytest.mark.parametrize(
    ("included", "hard", "binding"), [(None, 50, 50), (100, None, 100), (100, 50, 50), (100, 200, 100)]
)
def test_thresholds_are_of_what_binds(included: int | None, hard: int | None, binding: int) -> None:
    """A hard limit without an included amount is a limit: it warns, and its percents are of it."""
    amounts = [None if one is None else Decimal(one) for one in (included, hard)]
    limit = Limit(included=amounts[0], soft=amounts[0], hard=amounts[1])

    assert limit.binding == binding
    assert limit.crossed(Decimal(binding) * 8 / 10) == ["50", "80"]
    assert state_of(limit, Decimal(binding) * 8 / 10, exceeded_at=None, now=NOW) is State.WARNING
