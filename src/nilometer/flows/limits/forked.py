"""What a process keeps in memory and must not share: a child that forks begins without it.

What if a process forks after use (gunicorn with `preload`, `multiprocessing`)? Its events, blocks and connections stay
its own: a child with copies would send the events again, and give out the blocks a second time.
"""

from __future__ import annotations

import os
import threading  # noqa: F401  # its own part of a fork comes before ours
import weakref
from typing import Protocol


class OfOneProcess(Protocol):
    """Has state that no other process may have."""

    def start_empty(self) -> None:
        """Is called in the child, by its only thread: locks and threads are made anew, as the parent's may be held."""


_living: dict[int, weakref.ref[OfOneProcess]] = {}


def of_one_process(one: OfOneProcess) -> None:
    """Calls `start_empty` in every child that forks while `one` lives."""
    number = id(one)
    _living[number] = weakref.ref(one, lambda _: _living.pop(number, None))


def _start_empty() -> None:
    for known in list(_living.values()):
        one = known()
        if one is not None:
            one.start_empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_empty)
