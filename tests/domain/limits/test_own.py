"""What a workspace's own limits come to: laid over the plan, in any order, until they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.acts import act
from tests.support.stores.writes import Memory

from nilometer.domain.lake.redaction import image
from nilometer.domain.limits.limit import limit_of
from nilometer.domain.limits.own import rules, shown
from nilometer.domain.limits.own_deeds import ENTRIES, GrantLimit, LimitRule, OverrideLimit, OwnLimit
from nilometer.domain.store import keys
from nilometer.errors import Rejected

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PLAN = {"calls": {"included": 1000, "overage": "block", "source": "plan", "version": "v1"}}


def said(*own: OwnLimit) -> dict[str, Any] | None:
    """The record after these, each a second later."""
    return told((second, one) for second, one in enumerate(own))


def told(own: Any) -> dict[str, Any] | None:
    found = Memory()
    for second, one in own:
        at = NOW + timedelta(seconds=second)
        found.does(act(at=at, stamp=f"{at} {second}"), one)
    return found.get(keys.limits("ws"))  # type: ignore[return-value]


def override(meter: str, rule: dict[str, Any] | None, **given: Any) -> OverrideLimit:
    return OverrideLimit(meter=meter, limit=None if rule is None else LimitRule(**rule), **given)


def grant(meter: str, name: str, amount: str | None, **given: Any) -> GrantLimit:
    return GrantLimit(meter=meter, grant=name, amount=amount, **given)


def limit(own: dict[str, Any] | None, meter: str = "calls", now: datetime = NOW) -> tuple[Any, Any, str]:
    found = limit_of(rules(PLAN, own, now), meter)
    return (found.included, found.hard, found.source) if found else (None, None, "none")


def test_an_override_replaces_what_it_names() -> None:
    """And leaves the rest: what is included is still where it stops."""
    assert limit(None) == (1000, 1000, "plan")
    assert limit(said(override("calls", {"included": "2000"}))) == (2000, 2000, "override")
    assert limit(said(override("calls", {"overage": "allow"}))) == (1000, None, "override")
    assert limit(said(override("calls", {"included": None}))) == (None, None, "override")
    assert limit(said(override("seats", {"hard": "5"})), "seats") == (None, 5, "override")


def test_a_second_override_keeps_what_it_does_not_name() -> None:
    """Each field with its own end; taken back, all of them are gone."""
    until = NOW + timedelta(days=1)
    both = [override("calls", {"included": "100"}, ends_at=until), override("calls", {"hard": "50"})]

    assert limit(said(*both)) == (100, 50, "override")
    assert limit(said(*both), now=until) == (1000, 50, "override")
    assert limit(said(*both, override("calls", None))) == (1000, 1000, "plan")
    told = [{"meter": "calls", "grant": None, "included": 100, "ends_at": "2026-11-24T00:00:00.000Z"}]
    assert list(shown(said(*both)))[:1] == told


def test_grants_add_up_on_what_is_limited() -> None:
    """On the plan or its override; nothing is added to what nothing limits."""
    grants = [
        grant("calls", "a", "10"),
        grant("calls", "b", "0.5"),
        grant("seats", "a", "1"),
    ]

    assert limit(said(*grants)) == (Decimal("1010.5"), Decimal("1010.5"), "grant")
    assert limit(said(*grants), "seats") == (None, None, "none")
    assert limit(said(*grants, override("calls", {"included": "1", "hard": "2"}))) == (
        Decimal("11.5"),
        Decimal("12.5"),
        "grant",
    )
    assert limit(said(*grants, override("calls", {"included": None}))) == (None, None, "override")


def test_the_same_grant_again_replaces_it_and_can_be_taken_back() -> None:
    """An override too."""
    first, more, none = (grant("calls", "a", amount) for amount in ("10", "20", None))

    assert limit(said(first, more)) == (1020, 1020, "grant")
    assert limit(said(first, more, none)) == (1000, 1000, "plan")
    assert limit(said(override("calls", {"included": "1"}), override("calls", None)))[2] == "plan"


def test_each_ends_by_itself() -> None:
    """At its moment, without a job."""
    own = said(
        override("calls", {"included": "5"}, ends_at=NOW + timedelta(hours=2)),
        grant("calls", "a", "10", ends_at=NOW + timedelta(hours=1)),
    )

    at = [limit(own, now=NOW + timedelta(hours=hours))[0] for hours in (0, 1, 2)]
    assert at == [15, 5, 1000]


def test_a_limit_has_another_version_when_it_is_another() -> None:
    """Its thresholds are announced again; the plan's own version stays where nothing is its own."""
    versions = {
        limit_of(rules(PLAN, own, NOW), "calls").version  # type: ignore[union-attr]
        for own in (None, said(grant("calls", "a", "1")), said(grant("calls", "a", "2")))
    }
    assert (len(versions), "v1" in versions) == (3, True)


CHANGES = st.lists(
    st.one_of(
        st.builds(
            override,
            st.sampled_from(["calls", "seats"]),
            st.none() | st.fixed_dictionaries({"included": st.none() | st.integers(0, 9).map(str)}),
        ),
        st.builds(
            grant,
            st.sampled_from(["calls", "seats"]),
            st.sampled_from(["a", "b"]),
            st.none() | st.integers(0, 9).map(str),
        ),
    ),
    max_size=4,
)


@given(CHANGES)
def test_any_order_of_the_same_words_ends_in_the_same_limits(changes: list[OwnLimit]) -> None:
    """With copies of each: the later word about one name holds."""
    words = list(enumerate(changes))
    ends = [told([*order, *order]) for order in permutations(words)]

    assert len({repr(sorted(rules(PLAN, own, NOW).items())) for own in ends}) == 1


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"includes": "1"},
        {"included": "-1"},
        {"included": "1e3"},
        {"hard": "NaN"},
        {"overage": "maybe"},
        {"grace": "soon"},
        {"thresholds": []},
        {"thresholds": [0]},
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(rule: dict[str, Any]) -> None:
    """An operator gets the error at once, unlike the catalog."""
    with pytest.raises((Rejected, TypeError)):
        override("calls", rule)


@pytest.mark.parametrize("given", [("Calls", "a"), ("calls", "a@b"), ("a/b", "a")])
def test_a_name_that_cannot_be_is_refused(given: tuple[str, str]) -> None:
    """Also an address as a grant's id: ids reach the lake."""
    with pytest.raises(Rejected):
        grant(*given, "1")


def test_a_workspace_has_a_bounded_number_of_them() -> None:
    """They are read with every check."""
    grants = [grant("calls", str(n), "1") for n in range(ENTRIES)]
    own = said(*grants)

    assert limit(own)[0] == 1000 + ENTRIES
    with pytest.raises(Rejected, match="own limits"):
        said(*grants, grant("calls", "more", "1"))


def test_a_meter_named_like_an_address_is_none() -> None:
    """The lake keeps what was granted of `emails`."""
    own = said(override("emails", {"included": "5"}))

    assert image(own or {})["own_limits"] == {"emails": {"included": 5}}
