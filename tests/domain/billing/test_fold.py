"""What a workspace's views come to."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nilometer.domain.billing.record.fold import fold
from nilometer.domain.billing.record.inputs import Inputs, with_catalog, with_views
from nilometer.domain.limits import plan as plan_limits
from nilometer.domain.stripe.event import SUMMARY, Scope
from nilometer.domain.usage.period import Period, period_at

CUSTOMER = "self/test/cus_1"


def subscription(status: str = "active", **fields: Any) -> dict[str, Any]:
    return {"object": "subscription", "status": status, "created": 1, "items": [], "version": 1, **fields}


def item(quantity: int = 1, start: int = 100, end: int = 200) -> dict[str, Any]:
    bounds = {"current_period_start": start, "current_period_end": end}
    return {"id": "si", "product": "prod", "price": "price", "quantity": quantity, **bounds}


def folded(catalog: dict[str, Any] | None = None, **views: Any) -> dict[str, Any]:
    return fold(with_views(Inputs(catalog=catalog or {}), CUSTOMER, views))


def product(version: int = 1, **metadata: str) -> dict[str, Any]:
    return {"self/test/product/prod": {"version": version, "name": "Papyrus", "metadata": metadata}}


@pytest.mark.parametrize(
    ("statuses", "effective"),
    [
        (["canceled", "active"], "sub_1"),
        (["active", "incomplete"], "sub_0"),
        (["past_due", "trialing"], "sub_1"),
        (["unpaid", "paused"], "sub_1"),
        (["incomplete_expired", "unheard_of"], "sub_1"),
        (["active", "active"], "sub_1"),
    ],
)
def test_the_effective_subscription(statuses: list[str], effective: str) -> None:
    """The one that gives most; of equals the newer, then the greater id."""
    views = {f"sub_{n}": subscription(status) for n, status in enumerate(statuses)}

    assert folded(**views)["subscription"] == effective


def test_limits_of_product_and_price() -> None:
    """Price overlays product, per seat multiplies, items add up."""
    catalog = product(limit_calls="1000", limit_exports="5/seat", plan="papyrus")
    catalog["self/test/price/price"] = {"version": 1, "metadata": {"limit_calls": "2000"}}

    record = folded(catalog, sub=subscription(items=[item(3), item(1)]))

    assert (record["plan"], record["limits"]) == ("papyrus", {"calls": 4000, "exports": 20})
    assert record["limit_rules"]["calls"]["source"] == "plan"


def test_a_quantity_of_zero_has_no_seat() -> None:
    """A limit per seat is 0; one that does not count seats is given whole, and without a quantity a seat is one."""
    catalog = product(limit_calls="1000", limit_exports="5/seat")
    none, metered = subscription(items=[item(0)]), subscription(items=[{"id": "si", "product": "prod"}])

    assert folded(catalog, sub=none)["limits"] == {"calls": 1000, "exports": 0}
    assert folded(catalog, sub=metered)["limits"] == {"calls": 1000, "exports": 5}


def test_limits_of_features_hold_against_the_plan_s() -> None:
    """Of several features they add up; one that the customer does not have gives nothing."""
    features = {"a": {"limit_calls": "10"}, "b": {"limit_calls": "5", "limit_seats": "few"}, "c": {"limit_calls": "99"}}
    catalog = product(limit_calls="1000", limit_exports="5")
    catalog["self/test/entitlements.features/entitlements.features"] = {"version": 1, "features": features}
    entitled = {"object": SUMMARY, "features": ["a", "b"], "version": 1}

    record = folded(catalog, sub=subscription(items=[item()]), entitlements=entitled)
    without = folded(catalog, sub=subscription(items=[item()]))

    assert record["limits"] == {"calls": 15, "exports": 5}
    assert [record["limit_rules"][meter]["source"] for meter in ("calls", "exports")] == ["entitlement", "plan"]
    assert (record["unreadable_limits"], without["limits"]["calls"]) == (["seats"], 1000)


def test_an_unreadable_limit_is_named() -> None:
    """It limits nothing, and the record says so."""
    record = folded(product(limit_calls="many"), sub=subscription(items=[item()]))

    assert (record["limits"], record["unreadable_limits"]) == ({}, ["calls"])


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("1000", {"included": 1000}),
        ("unlimited", {"included": None}),
        ("5/seat", {"included": 5, "per_seat": True}),
        ('{"included": 10, "hard": 20, "overage": "allow"}', {"included": 10, "hard": 20, "overage": "allow"}),
    ],
)
def test_how_a_limit_is_written(text: str, limit: dict[str, Any]) -> None:
    """In metadata, where values are texts."""
    assert plan_limits.limits_of({"limit_calls": text}) == {"calls": limit}


def test_a_limits_version_moves_with_the_limit_only() -> None:
    """A threshold alerts once a version."""
    small, same, large = (plan_limits.total([({"included": n}, 1, 1)], "plan")["version"] for n in (1, 1, 2))

    assert small == same != large


def test_an_older_catalog_entry_does_not_come_back() -> None:
    """A slow reader's older product is ignored."""
    inputs = with_catalog(Inputs(catalog=product(2, plan="new")), product(1, plan="old"))

    assert inputs.catalog["self/test/product/prod"]["metadata"] == {"plan": "new"}


def test_dunning_counts_from_the_oldest_unpaid_invoice() -> None:
    """Its attempts, the next one, and since when."""
    invoice = {"object": "invoice", "created": 5, "attempt_count": 2, "next_payment_attempt": 90, "finalized_at": 7}

    record = folded(in_1=invoice, sub=subscription("past_due"))

    assert record["dunning"] == {"invoice": "in_1", "attempts": 2, "next_attempt": 90, "since": 7, "stage": "retrying"}
    assert record["access"] == "grace"


def test_the_payment_method_is_of_who_pays() -> None:
    """Of several customers that of the effective subscription's, whatever the ids; any other only without."""
    inputs = Inputs()
    for name, method, view in (("cus_1", "pm_z", subscription(created=2)), ("cus_2", "pm_a", subscription("canceled"))):
        customer = {"object": "customer", "default_payment_method": method}
        inputs = with_views(inputs, f"self/test/{name}", {name: customer, f"sub_{name}": view})
    without = with_views(inputs, "self/test/cus_1", {"cus_1": {"object": "customer"}})

    assert fold(inputs)["payment_method"] == {"id": "pm_z"}
    assert fold(without)["payment_method"] == {"id": "pm_a"}


@pytest.mark.parametrize(
    ("status", "next_attempt", "stage"),
    [
        ("active", None, None),
        ("active", 90, "retrying"),
        ("past_due", 90, "retrying"),
        ("past_due", None, "exhausted"),
        ("canceled", None, "exhausted"),
    ],
)
def test_a_debit_on_its_way_has_not_failed(status: str, next_attempt: int | None, stage: str | None) -> None:
    """Stripe counts an attempt when it is made. A bank debit is then open for days, is not to be tried again, and its
    subscription stays active; after a failure there is a next attempt, or the subscription is active no more."""
    invoice = {"object": "invoice", "created": 5, "attempt_count": 1, "finalized_at": 7, "subscription": "sub"}
    views = {"in_1": {**invoice, "next_payment_attempt": next_attempt}, "sub": subscription(status)}

    record = folded(**views)

    assert [one["id"] for one in record["open_invoices"]] == ["in_1"]
    assert (record["dunning"] or {}).get("stage") == stage


def test_a_scheduled_plan_change() -> None:
    """The next phase of the effective subscription's schedule."""
    phases = [{"start": 100, "end": 200, "items": []}, {"start": 200, "end": None, "items": [{"price": "next"}]}]
    schedule = {"object": "subscription_schedule", "subscription": "sub", "phases": phases}

    assert folded(sub=subscription(items=[item()]), sched=schedule)["scheduled_change"]["items"] == [{"price": "next"}]


def test_a_phase_that_began_within_the_period_is_scheduled_no_more() -> None:
    """The schedule says which phase runs: the period's start alone does not."""
    phases = [{"start": start, "end": start + 40, "items": [{"price": f"of_{start}"}]} for start in (100, 140, 180)]
    schedule = {"object": "subscription_schedule", "subscription": "sub", "phase_start": 140, "phases": phases}

    assert folded(sub=subscription(items=[item()]), sched=schedule)["scheduled_change"]["start"] == 180


def test_one_account_and_mode_counts() -> None:
    """Live before test, the platform before a Connect account."""
    inputs = Inputs()
    for scope, seats in ((Scope(), 1), (Scope(livemode=True), 2), (Scope(account="acct_1", livemode=True), 3)):
        inputs = with_views(inputs, f"{scope}/cus_{seats}", {f"sub_{seats}": subscription(items=[item(seats)])})

    assert fold(inputs)["seats"] == 2


def test_only_the_newest_ended_subscriptions_are_kept() -> None:
    """A customer of ten years does not fill the record."""
    views = {f"sub_{n}": subscription("canceled", created=n) for n in range(9)}

    assert sorted(with_views(Inputs(), CUSTOMER, views).customers[CUSTOMER]) == [f"sub_{n}" for n in range(4, 9)]


# ---------------------------------------------------------------------- periods

BOUNDS = st.tuples(st.integers(0, 40), st.integers(1, 20)).map(lambda one: (one[0], one[0] + one[1]))


@given(st.lists(st.integers(0, 40), unique=True, max_size=6), st.lists(BOUNDS, max_size=12))
def test_a_second_is_in_the_bases_period_else_in_the_greatest_of_the_others(
    bounds: list[int], others: list[tuple[int, int]]
) -> None:
    """Tried for each second; a period ends where another one begins to count."""
    bounds.sort()
    own = list(zip(bounds[::2], bounds[1::2], strict=False))
    views = {f"sub_{n}": subscription("past_due", periods=[list(one)]) for n, one in enumerate(others)}

    record = folded(base=subscription(periods=list(map(list, own))), **views)

    owners = {second: one for one in (*sorted(others), *own) for second in range(*one)}
    runs = [(second, owners[second]) for second in sorted(owners) if owners.get(second - 1) != owners[second]]
    ends = [next(last for last in count(first) if owners.get(last) != owner) for first, owner in runs]
    assert record["periods"] == [[first, end] for (first, _), end in zip(runs, ends, strict=True)]
    assert (record["current_period_start"], record["current_period_end"]) == (own[-1] if own else (None, None))


def test_of_many_others_the_newest_periods_count() -> None:
    """So that the record stays small, and an event cheap, however many subscriptions renew at times of their own."""
    others = {f"sub_{n:03}": subscription("past_due", periods=[[n, n + 1]]) for n in range(150)}

    record = folded(base=subscription(periods=[[149, 150], [1000, 2000]]), **others)

    assert record["periods"] == [*([n, n + 1] for n in range(49, 150)), [1000, 2000]]


DAY = 86400
RECORD = {"periods": [[10 * DAY, 40 * DAY], [50 * DAY, 80 * DAY]], "renews": True}


def at(day: float) -> datetime:
    return datetime.fromtimestamp(day * DAY, UTC)


@pytest.mark.parametrize(
    ("day", "start", "end", "provisional"),
    [
        (10, 10, 40, False),  # the start belongs to it
        (39.9, 10, 40, False),
        (79.9, 50, 80, False),
        (80, 80, 110, True),  # the renewal has not arrived
        (300, 80, 110, True),  # however late
        (45, 40, 50, False),  # between two: the calendar month, cut on both sides
        (5, 0, 10, False),  # before the first
    ],
)
def test_the_period_of_a_moment(day: float, start: int, end: int, provisional: bool) -> None:
    """Half-open, Stripe's own where known."""
    assert period_at(RECORD, at(day)) == Period(at(start), at(end), provisional)


def test_without_a_subscription_the_month() -> None:
    """Of the calendar, in UTC."""
    december = datetime(2026, 12, 31, 23, tzinfo=UTC)

    assert period_at(None, december) == Period(datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def test_after_the_end_of_the_last_subscription_the_month() -> None:
    """What ended does not renew."""
    assert not period_at({**RECORD, "renews": False}, at(100)).provisional
