"""JSON by msgspec reads and says what `json` does."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nilometer.local.patches.quick_json import QuickJson

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None))
VALUES = st.recursive(LEAVES, lambda some: st.lists(some) | st.dictionaries(st.text(), some), max_leaves=20)


@given(VALUES)
def test_what_was_read_is_written_the_same(value: Any) -> None:
    """Half a surrogate pair and an infinite number too, which msgspec refuses or says otherwise."""
    text = json.dumps({"value": value})

    read = QuickJson.loads(text)
    assert repr(read) == repr(json.loads(text)) == repr({"value": value})
    assert repr(json.loads(QuickJson.dumps({"wrapped": read}))) == repr({"wrapped": {"value": value}})


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": 1,}', "nul", '"\\ud800"', "NaN", "1e400", b"\xff", b'"\xc3\xa9"', " 1 "]
)
def test_errors_are_those_of_json(text: str | bytes) -> None:
    """A service answers by the error that it knows."""
    assert outcome(QuickJson.loads, text) == outcome(json.loads, text)


@pytest.mark.parametrize("value", [[1, 2], "text", {"a": object()}, {None: 1}, {1: "a"}])
def test_what_is_no_json_object_is_left_to_json(value: Any) -> None:
    """Text that people read keeps its spaces; what JSON cannot say is an error."""
    said, wanted = outcome(QuickJson.dumps, value), outcome(json.dumps, value)
    assert said == wanted or said.replace(" ", "") == wanted.replace(" ", "")


def outcome(act: Any, value: Any) -> Any:
    try:
        found = act(value)
    except (ValueError, TypeError) as error:
        return type(error).__name__
    return "nan" if isinstance(found, float) and math.isnan(found) else found
