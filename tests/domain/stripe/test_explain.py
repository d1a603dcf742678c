"""An operator sees why."""

from __future__ import annotations

from tests.support.events.stripe import created, event, merged, updated

from nilometer.domain.stripe.registers.explain import explain
from nilometer.domain.stripe.registers.register import Register


def test_a_walk_is_told() -> None:
    """The edges, and the event whose state it is."""
    told = explain(merged([created(99, status="incomplete"), updated(100, {"status": "incomplete"}, status="active")]))

    assert (told["rule"], told["state"]["status"], len(told["evidence"])) == ("walk", "active", 2)
    assert [row["decides"] for row in told["evidence"]] == [True, False]
    assert told["evidence"][0]["before"] == told["evidence"][1]["after"]


def test_a_terminal_state_says_so() -> None:
    """Later live events do not count."""
    told = explain(merged([event("product.deleted", 10), event("product.updated", 20, {})]))

    assert (told["because"], told["state"]["deleted"]) == ("the newest second has one state, terminal", True)


def test_nothing_is_told_of_nothing() -> None:
    """An empty register."""
    assert explain(Register())["evidence"] == []
