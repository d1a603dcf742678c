"""Waiting until everything that was sent has arrived everywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nilometer.errors import Unavailable

Status = Mapping[str, Any]


def await_idle(
    read: Callable[[], Status],
    *,
    timeout: float,
    pause: float = 0.1,
    reads: int = 1,
    observe: Callable[[Status], None] | None = None,
) -> Status:
    """The last status, once it was idle for `reads` in a row. `Unavailable` says what is busy at the end.

    A local runner's `idle` is certain. Queues on AWS are read one after the other and show
    approximations, so one read may miss what moves: ask for several there.
    """
    deadline = time.monotonic() + timeout
    calm = 0
    while True:
        status = read()
        if observe:
            observe(status)
        calm = calm + 1 if status["idle"] else 0
        if calm == reads:
            return status
        if time.monotonic() > deadline:
            raise Unavailable(f"not idle after {timeout:g} s: {'; '.join(busy(status)) or 'a function is running'}")
        time.sleep(pause)


def busy(status: Status) -> Iterator[str]:
    """What keeps the stack from being idle, one clause each."""
    for name, queue in status["queues"].items():
        counts = [f"{count} {state.replace('_', ' ')}" for state, count in queue.items() if count]
        if counts:
            yield f"queue {name}: {', '.join(counts)}"
    for name, lag in status["streams"].items():
        if lag:
            yield f"stream {name}: {lag} behind"
