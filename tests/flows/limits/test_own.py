"""Overrides and grants on a real engine: who may say them, and that they hold at once where limits are asked."""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.support.flows import operations
from tests.support.flows.limits import alerts, limited, look, use
from tests.support.flows.operations import NOW, event
from tests.support.flows.reservations import ask, left
from tests.support.flows.usage import WORKSPACE
from tests.support.people import member

from nilometer import CreateWorkspace, GrantLimit, LimitRule, OverrideLimit, perform
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.acts.act import Caller, service
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.limits.limit import State
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused
from nilometer.flows.limits import own as own_limits
from nilometer.flows.limits.thresholds import check
from nilometer.flows.recovery.overview import usage_of
from nilometer.flows.usage.known import WORKSPACE_SECONDS, Known


@pytest.fixture
def console(ready: Store) -> Caller:
    """Operators' service, in a workspace whose plan includes 100 calls and no more."""
    limited(ready, included=100, overage="block")
    return service(WORKSPACE, "console")


def override(store: Store, caller: Caller, rule: Any, **given: Any) -> None:
    deed = OverrideLimit(meter="api_calls", limit=None if rule is None else LimitRule(**rule), **given)
    perform(store, caller, deed, now=NOW)


def grant(store: Store, caller: Caller, amount: Any, name: str = "g", **given: Any) -> None:
    perform(store, caller, GrantLimit(meter="api_calls", grant=name, amount=amount, **given), now=NOW)


def included(store: Store, **given: Any) -> Decimal | None:
    return check(Known(store), WORKSPACE, "api_calls", quantity=Decimal(1), **{"now": NOW, **given}).included


def test_every_reader_of_limits_sees_them(ready: Store, objects: Objects, console: Caller) -> None:
    """Check, overview and what a member is shown, until they end."""
    use(ready, objects, 100, "a")
    override(ready, console, {"included": "150"})
    grant(ready, console, "50", ends_at=NOW + timedelta(days=1))

    found = check(Known(ready), WORKSPACE, "api_calls", quantity=Decimal(1), now=NOW)
    [shown] = usage_of(ready, WORKSPACE, now=NOW).meters
    effective, own = own_limits.limits_of(ready, console, now=NOW)

    assert (found.allowed, found.state, found.included, found.source) == (True, State.OK, 200, "grant")
    assert (shown.limit, shown.state) == (200, State.OK)
    assert [(one.limit.included, one.plan) for one in effective] == [(200, 100)]
    assert [(one["grant"], one.get("amount")) for one in own] == [(None, None), ("g", 50)]
    assert included(ready, now=NOW + timedelta(days=1)) == 150


def test_a_member_sees_limits_and_changes_none(ready: Store, console: Caller) -> None:
    """Not even the Admin: more is sold or given."""
    with pytest.raises(Refused):
        override(ready, member("eve", Role.ADMIN, WORKSPACE), {"included": "150"})
    workspaces_member = member("ada", Role.ADMIN, "ws_other")
    perform(ready, service("ws_other", "s"), CreateWorkspace(name="Other", admin="ada"), now=NOW)
    with pytest.raises(Refused):
        grant(ready, workspaces_member, "1000")

    assert own_limits.limits_of(ready, workspaces_member, now=NOW) == ([], [])
    assert included(ready) == 100


def test_a_lower_limit_is_told_and_reserved_from_at_once(ready: Store, objects: Objects, console: Caller) -> None:
    """Also by a process that has the old one in its cache."""
    use(ready, objects, 60, "a")
    known = Known(ready, monotonic=lambda: 0.0)
    assert ask(known, "r1").granted
    override(ready, console, {"included": "70"})
    look(ready)

    assert not ask(known, "r2").granted
    assert left(ready) == (0, 10)
    version = {version for _, version in alerts(ready)} - {"v1"}
    assert [threshold for threshold, one in alerts(ready) if {one} == version] == ["50", "80"]


def test_a_raised_limit_is_reserved_from_at_once(ready: Store, objects: Objects, console: Caller) -> None:
    """A refused write reads the limits again; a check caches them for seconds."""
    use(ready, objects, 100, "a")
    now = itertools.count(0, WORKSPACE_SECONDS)
    known, checking = Known(ready, monotonic=lambda: 0.0), Known(ready, monotonic=lambda: float(next(now)))
    assert not ask(known, "r1").granted
    assert not check(checking, WORKSPACE, "api_calls", quantity=Decimal(1), now=NOW).allowed
    grant(ready, console, "10")

    assert ask(known, "r1").granted
    assert check(checking, WORKSPACE, "api_calls", quantity=Decimal(1), now=NOW).allowed


def test_events_say_the_same_in_any_order(ready: Store, objects: Objects, console: Caller) -> None:
    """With copies; the last word of each holds."""
    said = [
        ("limit.overridden.v1", {"meter": "api_calls", "limit": {"included": "150"}}),
        ("limit.granted.v1", {"meter": "api_calls", "grant": "a", "amount": "7"}),
        ("limit.overridden.v1", {"meter": "api_calls", "limit": None}),
        ("limit.granted.v1", {"meter": "api_calls", "grant": "a", "amount": "5", "ends_at": "2027-01-01T00:00:00Z"}),
    ]
    for n, order in enumerate(itertools.permutations(range(4))):
        events = [
            event(type_, data, id_=f"{n}-{second}", subject=WORKSPACE, second=second)
            for second, (type_, data) in enumerate(said)
        ]
        for _ in range(2):
            outcomes = operations.handle(ready, objects, *(events[one] for one in order))
            assert set(outcomes) <= {Outcome.ACCEPTED, Outcome.DUPLICATE}
        assert included(ready) == 105
    stored = ready.get(Table.RECORDS, keys.limits(WORKSPACE)) or {}
    assert stored["own_limits"] == {"api_calls/a": {"amount": 5, "ends_at": "2027-01-01T00:00:00.000Z"}}


@pytest.mark.parametrize(
    "data",
    [
        {"meter": "api_calls", "limit": {}},
        {"meter": "api_calls", "limit": {"included": 5}},
        {"meter": "api_calls", "limit": {"included": "5"}, "ends_at": "tomorrow"},
        {"meter": "api_calls", "limit": {"more": "5"}},
    ],
)
def test_an_override_that_cannot_be_read_is_kept_as_a_reject(
    data: dict[str, Any], ready: Store, objects: Objects, console: Caller
) -> None:
    """And changes nothing."""
    wrong = event("limit.overridden.v1", data, id_="x", subject=WORKSPACE)

    assert operations.handle(ready, objects, wrong) == [Outcome.REJECTED]
    assert included(ready) == 100
