"""What fits into one request."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nilometer.domain.store.together import together


@given(parts=st.lists(st.integers(0, 30)), most=st.integers(1, 5), most_bytes=st.integers(1, 40))
def test_every_part_is_in_one_list_and_every_list_fits(parts: list[int], most: int, most_bytes: int) -> None:
    """In their order. Only a part that is too large by itself is above the bound, alone; no list had room."""
    lists = list(together(parts, lambda part: part, most=most, most_bytes=most_bytes))

    assert [part for one in lists for part in one] == parts
    assert all(len(one) <= most and (sum(one) <= most_bytes or len(one) == 1) for one in lists)
    assert all(len(a) == most or sum(a) + b[0] > most_bytes for a, b in itertools.pairwise(lists))
