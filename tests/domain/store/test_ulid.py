"""Ids that sort by time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from nilometer.domain.store.ulid import ALPHABET, LENGTH, derived, is_ulid, least, time_of, ulid

INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
CHANCES = st.binary(min_size=10, max_size=10)


@given(first=INSTANTS, second=INSTANTS, one=CHANCES, two=CHANCES)
def test_ulids_sort_by_time_then_chance(first: datetime, second: datetime, one: bytes, two: bytes) -> None:
    """As text, as the key of an item is sorted."""
    apart = time_of(ulid(first, one)), time_of(ulid(second, two))

    assert (ulid(first, one) < ulid(second, two)) == ((apart[0], one) < (apart[1], two))


@given(instant=INSTANTS, chance=CHANCES)
def test_a_ulid_holds_its_millisecond(instant: datetime, chance: bytes) -> None:
    """In 26 characters that nobody mistakes; all of one instant are at least its least."""
    made = ulid(instant, chance)

    assert timedelta(0) <= instant - time_of(made) < timedelta(milliseconds=1)
    assert is_ulid(made)
    assert (len(made), set(made) <= set(ALPHABET)) == (LENGTH, True)
    assert least(instant) <= made


def test_what_specification_gives_as_example() -> None:
    """The time part of the specification's example: 2016-07-30T23:54:10.259Z."""
    assert time_of("01ARZ3NDEKTSV4RRFFQ69G5FAV") == datetime(2016, 7, 30, 23, 54, 10, 259000, tzinfo=UTC)


def test_before_1970_sorts_first() -> None:
    """An event may claim any time; its id is one all the same."""
    assert is_ulid(ulid(datetime(1950, 1, 1, tzinfo=UTC), bytes(10)))


@given(st.lists(st.text(max_size=3), max_size=3), st.lists(st.text(max_size=3), max_size=3))
def test_derived_ids_tell_causes_apart(one: list[str], two: list[str]) -> None:
    """The same identity has the same id, another one another."""
    now = datetime(2026, 11, 23, tzinfo=UTC)

    assert (derived(now, *one) == derived(now, *two)) == (one == two)
