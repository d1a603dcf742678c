"""The audit of a record, folded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from nilometer.domain.lake.change import ItemAction
from nilometer.domain.recovery.history import Step, state
from nilometer.domain.store.writes import Key


def step(action: ItemAction, old: dict[str, Any] | None, new: dict[str, Any] | None, key: str = "a") -> Step:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    return Step(key=Key(key, "X"), occurred_at=at, action=action, actor=None, cause=None, old=old, new=new)


def test_the_newest_image_is_the_state() -> None:
    steps = [
        step(ItemAction.INSERT, None, {"plan": "free"}),
        step(ItemAction.MODIFY, {"plan": "free"}, {"plan": "team"}),
        step(ItemAction.INSERT, None, {"plan": "pro"}, key="b"),
    ]

    assert dict(state(steps)) == {Key("a", "X"): {"plan": "team"}, Key("b", "X"): {"plan": "pro"}}


def test_what_was_removed_or_expired_is_gone_and_may_return() -> None:
    gone = [step(ItemAction.INSERT, None, {"n": 1}), step(ItemAction.EXPIRED, {"n": 1}, None)]

    assert dict(state(gone)) == {}
    assert dict(state([*gone, step(ItemAction.INSERT, None, {"n": 2})])) == {Key("a", "X"): {"n": 2}}


def test_a_step_tells_before_and_after() -> None:
    changed = step(ItemAction.MODIFY, {"plan": "free", "same": 1}, {"plan": "team", "same": 1, "new": 2})

    assert changed.fields == {"plan": ("free", "team"), "new": (None, 2)}
