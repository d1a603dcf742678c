"""Tutorials: any order and any repetition of steps end in the same progress."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.acts import act
from tests.support.stores.writes import Memory

from nilometer import AdvanceOnboarding
from nilometer.domain.people import onboarding
from nilometer.domain.people.onboarding import KEPT, Mark
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Put, Version
from nilometer.errors import Rejected

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


Said = tuple[float, AdvanceOnboarding]
KEY = keys.onboarding("ws", "u", "first_steps")


def said(second: float, *, step: str | None = None, mark: str | None = None) -> Said:
    wanted = Mark(mark) if mark else None
    return second, AdvanceOnboarding(user_id="u", tutorial="first_steps", step=step, mark=wanted)


def after(advances: Sequence[Said], item: Any = None, now: datetime = NOW) -> Any:
    found = Memory({KEY: item} if item else {})
    for second, deed in advances:
        found.does(act(now=now, at=NOW + timedelta(seconds=second)), deed)
    return found.get(KEY)


ADVANCES = st.builds(
    lambda second, name: said(second, **({"mark": name} if name in set(Mark) else {"step": name})),
    st.integers(0, 30),
    st.sampled_from(["invite", "connect", "send", *Mark]),
)


@given(st.lists(ADVANCES, min_size=1, max_size=12), st.randoms())
def test_any_order_and_any_repetition_end_in_the_same_progress(advances: list[Said], chance: Any) -> None:
    """Maxima do not care."""
    shuffled = [*advances, *advances]
    chance.shuffle(shuffled)
    one, other = after(advances), after(shuffled)

    assert [one[name] for name in ("steps", "marks", "expires_at")] == [
        other[name] for name in ("steps", "marks", "expires_at")
    ]


def test_a_restart_forgets_what_was_before() -> None:
    """Also the dismissal; a step that comes late but was done before stays forgotten."""
    item = after([said(1, step="invite"), said(2, mark="dismissed"), said(3, mark="restarted"), said(4, step="send")])

    assert onboarding.progress(item).steps == ("send",)
    assert onboarding.progress(item).status == "active"
    assert onboarding.progress(after([said(2.5, step="connect")], item)).steps == ("send",)


def test_the_last_end_is_the_status() -> None:
    """Who dismisses and then completes has completed."""
    item = after([said(1, mark="dismissed"), said(2, mark="completed")])

    assert onboarding.progress(item).status == "completed"


def test_what_expired_begins_anew() -> None:
    """TTL is late: the old record may still be there, and the write is guarded by its version."""
    found = Memory({KEY: after([said(0, step="invite")])})
    [put] = found.does(act(now=NOW + KEPT + timedelta(seconds=1)), said(0, step="send")[1])

    assert isinstance(put, Put)
    assert put.item["steps"].keys() == {"send"}
    assert put.expected == Version(1)


def test_a_step_that_has_expired_on_its_way_changes_nothing() -> None:
    """Its record would be gone at once."""
    assert after([said(0, step="invite")], now=NOW + KEPT) is None


@pytest.mark.parametrize("wrong", [{}, {"step": "a", "mark": "completed"}, {"step": "No Slug"}, {"mark": "begun"}])
def test_what_cannot_be_an_advance_is_rejected(wrong: dict[str, Any]) -> None:
    """One step, or one mark."""
    with pytest.raises(Rejected):
        AdvanceOnboarding(user_id="u", tutorial="t", **wrong)


def test_a_tutorial_has_an_end() -> None:
    """The record cannot grow without bound."""
    item = after([said(n, step=f"s{n}") for n in range(onboarding.STEPS)])

    with pytest.raises(Rejected):
        after([said(99, step="one_more")], item)
