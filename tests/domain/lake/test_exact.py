"""Numbers come back exactly, though JSON on the way is parsed as 64-bit floats."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nilometer.domain.lake import exact

NUMBERS = st.one_of(
    st.integers(-(10**37), 10**37),
    # 15 digits before the point and 9 after it, the last of them no nought.
    st.integers(-(10**23), 10**23).map(lambda whole: Decimal(whole * 10 + 1).scaleb(-9)),
)
NAMES = st.sampled_from(["", "a", "b", "a/b", "~", "~1", "#"])
IMAGES = st.dictionaries(
    NAMES,
    st.recursive(
        NUMBERS | st.text(max_size=5) | st.booleans() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


def over_a_bus_of_floats(image: dict[str, Any]) -> dict[str, Any]:
    text = msgspec.json.Encoder(decimal_format="number").encode(image)
    arrived: dict[str, Any] = json.loads(json.dumps(json.loads(text)), parse_float=Decimal)
    return arrived


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(IMAGES)
def test_an_image_comes_back_as_it_was(image: dict[str, Any]) -> None:
    """15 digits before the point and 9 after it, and whole numbers of any size, at any depth."""
    assert exact.read(over_a_bus_of_floats(exact.written(image))) == image


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(IMAGES)
def test_reading_twice_changes_nothing(image: dict[str, Any]) -> None:
    """What has been read has no marks any more."""
    assert exact.read(exact.read(exact.written(image))) == image


def test_ordinary_numbers_look_as_ever() -> None:
    """Only what a float would round is text."""
    image = {"total": Decimal("12345678.123456789"), "limit": Decimal("0.10"), "count": 3}
    assert exact.written(image) == {
        "total": "12345678.123456789",
        "limit": Decimal("0.10"),
        "count": 3,
        "exact_numbers": ["/total"],
    }


def test_marks_that_fit_nothing_are_harmless() -> None:
    """Whoever wrote them."""
    odd = ["/no", "", "/list/9", "/list/x", "/text", "/list/0/deep", 5]
    assert exact.read({"list": ["1"], "text": "x", "exact_numbers": odd}) == {"list": ["1"], "text": "x"}
    assert exact.read({"exact_numbers": 7}) == {}
