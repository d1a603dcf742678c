"""Waiting ends when all is done, and says what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nilometer.errors import Unavailable
from nilometer.local.stack.idle import await_idle

IDLE = {"idle": True, "queues": {}, "streams": {}}
BUSY = {
    "idle": False,
    "queues": {"BillingQueue": {"visible": 3, "in_flight": 0, "delayed": 0}, "UsageQueue": {"visible": 0}},
    "streams": {"RecordsTable": 12},
}


def reading(*statuses: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """One status after the other, the last for ever."""
    left = list(statuses)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_it_returns_when_idle() -> None:
    assert await_idle(reading(BUSY, BUSY, IDLE), timeout=5, pause=0) == IDLE


def test_one_calm_look_may_not_be_enough() -> None:
    """Where a look is only an approximation, as many in a row as asked for."""
    looks: list[Any] = []

    await_idle(reading(IDLE, BUSY, IDLE, IDLE, IDLE), timeout=5, pause=0, reads=3, observe=looks.append)

    assert looks == [IDLE, BUSY, IDLE, IDLE, IDLE]


def test_it_says_what_is_busy() -> None:
    """The reason of a test that hangs is in its message."""
    with pytest.raises(Unavailable, match=r"queue BillingQueue: 3 visible; stream RecordsTable: 12 behind"):
        await_idle(reading(BUSY), timeout=0, pause=0)
