"""Changes are said once, and only of what a workspace feels."""

from __future__ import annotations

from typing import Any

from nilometer.domain.billing.record.changes import billing_changes
from nilometer.domain.billing.record.fold import fold
from nilometer.domain.billing.record.inputs import Inputs, with_views


def record(version: int = 1, workspace_id: str | None = "ws", **fields: Any) -> dict[str, Any]:
    return {**fold(Inputs()), "workspace_id": workspace_id, "version": version, "cause": "evt_1", **fields}


def types(old: dict[str, Any] | None, new: dict[str, Any] | None) -> list[str]:
    return [change.type.split(".")[1] for change in billing_changes(old, new)]


def test_an_upgrade() -> None:
    """Plan and limits, with what was and what is."""
    old = record(plan="reed", limits={"calls": 1}, status="active")
    new = record(2, plan="papyrus", limits={"calls": 2}, status="active")

    found = billing_changes(old, new)

    assert [change.type for change in found] == ["billing.plan_changed.v1", "billing.limits_changed.v1"]
    assert (found[0].id, found[0].cause, found[0].before, found[0].after) == (
        "ws:2:billing.plan_changed.v1",
        "evt_1",
        {"plan": "reed"},
        {"plan": "papyrus"},
    )


def test_each_failed_attempt_is_told_once() -> None:
    """A second write with the same attempt says nothing."""
    first = {"invoice": "in_1", "attempts": 1}
    second = {"invoice": "in_1", "attempts": 2}

    assert types(record(), record(dunning=first)) == ["payment_failed"]
    assert types(record(dunning=first), record(dunning=first)) == []
    assert types(record(dunning=first), record(dunning=second)) == ["payment_failed"]


def test_recovered_is_not_written_off() -> None:
    """The invoice of an ended subscription is gone, not paid."""
    failed = record(dunning={"invoice": "in_1", "attempts": 1}, access="grace")

    assert "payment_recovered" in types(failed, record(access="full"))
    assert "payment_recovered" not in types(failed, record(access="none"))


def test_nothing_to_say() -> None:
    """A new record of a customer without a subscription, an unlinked customer, a record that is gone."""
    assert types(None, record()) == []
    assert types(None, record(workspace_id=None, plan="reed")) == []
    assert types(record(plan="reed"), None) == []


def test_a_customer_view_alone_changes_nothing() -> None:
    """What nobody feels is not announced."""
    views = {"cus_1": {"object": "customer", "version": 1}}

    assert (
        billing_changes(
            None, {**fold(with_views(Inputs(), "self/test/cus_1", views)), "workspace_id": "w", "version": 1}
        )
        == []
    )
