"""How deep a message may nest is found without nesting ourselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.project import EVENTS

from nilometer.errors import Rejected
from nilometer.flows.inbox.envelope import DEPTH, check_depth

_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text('[]{}"\\ab', max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\', max_size=6), inner, max_size=4),
    max_leaves=60,
)


def is_refused(content: bytes) -> bool:
    try:
        check_depth(content)
    except Rejected as error:
        return error.reason == "too_large"
    return False


@given(_JSON, st.integers(0, DEPTH * 2), st.sampled_from(["[]", "{}"]))
def test_exactly_what_nests_deeper_is_refused(value: Any, levels: int, kind: str) -> None:
    """Whatever brackets its texts hold."""
    opening, closing = ("[", "]") if kind == "[]" else ('{"]": ', "}")
    text = opening * levels + json.dumps([value] * (DEPTH + 1)) + closing * levels

    assert is_refused(text.encode()) is (levels + 1 + _depth(value) > DEPTH)


@pytest.mark.parametrize(("pairs", "refused"), [(DEPTH // 2, False), (DEPTH // 2 + 1, True), (DEPTH - 1, True)])
def test_arrays_and_objects_in_turn_are_levels_each(pairs: int, refused: bool) -> None:
    """However they alternate."""
    assert is_refused(('[{"a":' * pairs + "1" + "}]" * pairs).encode()) is refused


def _depth(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 1 + max(map(_depth, value.values()), default=0) if isinstance(value, dict) else 0


@pytest.mark.parametrize("text", ["[" * 1_000_000, '{"a":' * 300_000, '"' + "[" * 1_000_000])
def test_what_is_no_json_is_judged_too(text: str) -> None:
    """A decoder says what is wrong with it; its depth is found first."""
    assert is_refused(text.encode())


def test_no_sample_is_near_the_bound() -> None:
    """What senders mean is flat."""
    assert max(_depth(json.loads(path.read_text())) for path in EVENTS.rglob("*.json")) < DEPTH / 2
