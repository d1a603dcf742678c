"""Feature flags: shares that are stable and only grow, overrides that win, changes in any order."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.acts import act
from tests.support.stores.writes import Memory

from nilometer import OverrideFlag, SetFlag
from nilometer.domain.acts.act import Act
from nilometer.domain.people import flag
from nilometer.domain.people.flag import Reason
from nilometer.domain.store import keys
from nilometer.errors import Rejected, Unavailable

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SLUGS = st.from_regex(r"\A[a-z][a-z0-9_]{0,20}\Z")
PERCENTAGES = st.integers(0, 100)


def at(second: int) -> Act:
    time = NOW + timedelta(seconds=second)
    return act(now=NOW, at=time, stamp=f"{time.isoformat()} s {second}")


def stored(name: str, **given: Any) -> Any:
    found = Memory()
    found.does(at(0), SetFlag(flag=name, **given))
    return found[keys.flag(name)]


def override(name: str, enabled: bool | None) -> Any:
    return {"flag": name, "enabled": enabled, "actor": "admin", "updated_at": "then"}


@given(SLUGS, st.text(min_size=1), PERCENTAGES)
def test_a_share_is_stable(name: str, workspace: str, rollout: int) -> None:
    """A workspace is asked twice and answers the same, whatever else the record says."""
    first = flag.evaluate(name, workspace, stored(name, rollout=rollout), None)
    again = flag.evaluate(name, workspace, stored(name, rollout=rollout, description="other"), None)

    assert first.on is again.on
    assert 0 <= first.bucket < 100


@given(SLUGS, st.text(min_size=1), PERCENTAGES, PERCENTAGES)
def test_a_larger_share_only_adds_workspaces(name: str, workspace: str, one: int, other: int) -> None:
    """Who has the feature keeps it while the percentage grows."""
    small, large = sorted((one, other))
    on = [flag.evaluate(name, workspace, stored(name, rollout=share), None).on for share in (small, large)]

    assert on[0] <= on[1]


@given(SLUGS, st.text(min_size=1))
def test_no_share_is_nobody_and_the_whole_is_everybody(name: str, workspace: str) -> None:
    """0 and 100 leave nothing to chance."""
    assert not flag.evaluate(name, workspace, stored(name, rollout=0), None).on
    assert flag.evaluate(name, workspace, stored(name, rollout=100), None).on


@pytest.mark.parametrize("rollout", [1, 10, 50, 90])
def test_a_share_is_about_as_large_as_it_says(rollout: int) -> None:
    """Of 20,000 workspaces the share is right to one in a hundred."""
    record = stored("exports", rollout=rollout)
    on = sum(flag.evaluate("exports", f"ws_{n}", record, None).on for n in range(20_000))

    assert abs(on / 200 - rollout) < 1


def test_another_flag_starts_with_other_workspaces() -> None:
    """Not always the same ones are first: two shares of a half overlap in about a quarter."""
    both = sum(flag.bucket_of("one", f"ws_{n}") < 50 and flag.bucket_of("two", f"ws_{n}") < 50 for n in range(10_000))

    assert 2_300 < both < 2_700


@given(st.booleans(), PERCENTAGES, st.booleans(), st.sampled_from([None, True, False]))
def test_the_first_reason_that_applies_decides(enabled: bool, rollout: int, archived: bool, own: bool | None) -> None:
    """Archived, then the workspace's own answer, then everybody, then the share."""
    record = stored("exports", enabled=enabled, rollout=rollout, archived=archived)
    answer = flag.evaluate("exports", "ws", record, override("exports", own))
    bucket = flag.bucket_of("exports", "ws")
    expected = (
        (False, Reason.ARCHIVED)
        if archived
        else (own, Reason.OVERRIDE)
        if own is not None
        else (True, Reason.EVERYBODY)
        if enabled
        else (True, Reason.ROLLOUT)
        if bucket < rollout
        else (False, Reason.OFF)
    )

    assert (answer.on, answer.reason) == expected


def test_an_unknown_flag_is_off() -> None:
    """Also when an override of it is stored: a deployment may ask before its flag is set."""
    assert flag.evaluate("exports", "ws", None, override("exports", True)).reason is Reason.UNKNOWN


CHANGES = [{"enabled": True}, {"rollout": 30, "enabled": False}, {"archived": True}, {"rollout": 60}]


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(CHANGES)))))
def test_any_order_of_changes_ends_in_the_same_flag(order: tuple[int, ...]) -> None:
    """Each field is as its latest change says."""
    found = Memory()
    for number in order:
        found.does(at(number), SetFlag(flag="exports", **CHANGES[number]))
    item = found[keys.flag("exports")]

    assert (item["enabled"], item["rollout"], item["archived"]) == (False, 60, True)


def test_an_override_that_was_taken_back_does_not_revive() -> None:
    """An older event that comes late finds the mark."""
    found = Memory({keys.flag("exports"): stored("exports")})
    found.does(at(2), OverrideFlag(flag="exports", enabled=None))

    assert found.does(at(1), OverrideFlag(flag="exports", enabled=True)) == []
    assert "gsi1pk" not in found[keys.override("ws", "exports")]


def test_an_override_waits_for_its_flag() -> None:
    """The bus keeps no order."""
    with pytest.raises(Unavailable):
        Memory().does(at(0), OverrideFlag(flag="exports", enabled=True))


def test_who_calls_turns_the_switch_even_against_a_clock_that_is_ahead() -> None:
    """An operator who switches off must not wait until an event's future time has come."""
    found = Memory({keys.flag("exports"): stored("exports", enabled=True)})
    found.does(act(now=NOW - timedelta(days=1)), SetFlag(flag="exports", enabled=False))

    assert found[keys.flag("exports")]["enabled"] is False


@pytest.mark.parametrize(
    "wrong", [{"flag": "No Slug"}, {"flag": "x", "rollout": 101}, {"flag": "x", "description": "x" * 501}]
)
def test_what_cannot_be_a_flag_is_rejected(wrong: dict[str, Any]) -> None:
    """With a reason."""
    with pytest.raises(Rejected):
        SetFlag(**wrong)
