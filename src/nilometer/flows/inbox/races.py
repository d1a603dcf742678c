"""The one retry of all flows: what to do when somebody was faster. Read again, decide again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from nilometer.errors import Cancelled, Unavailable

ATTEMPTS = 12
FIRST = 0.02  # seconds at most before the second attempt; twice as many before each further one
LONGEST = 0.5  # seconds between two attempts

_T = TypeVar("_T")


def retrying(
    attempt: Callable[[], _T],
    *,
    until: Callable[[], bool] = lambda: False,
    on: type[Unavailable] | tuple[type[Exception], ...] = Cancelled,
    attempts: int = ATTEMPTS,
) -> _T:
    """Calls `attempt` again, with full jitter, as long as it raises `on`; each call reads and decides afresh.

    The last error is raised after `attempts`, or as soon as `until` says that no time is left for another one.
    Source: AWS Builders' Library, "Timeouts, retries, and backoff with jitter".
    """
    for count in range(attempts):
        try:
            return attempt()
        except on:
            if count == attempts - 1 or until():
                raise
            time.sleep(random.uniform(0, min(LONGEST, FIRST * 2**count)))
    raise AssertionError("unreachable")
