"""What the runner's parts know of each other."""

from __future__ import annotations

import threading
import time

from nilometer.local.workers.activity import Activity


def test_pollers_give_way_to_several_requests_for_a_while() -> None:
    """Not to one; until only one is left; and never longer than the time that is said."""
    activity = Activity()
    with activity.answering():
        assert waited(activity, 60) < 30
        with activity.answering():
            assert waited(activity, 0.2) >= 0.2
    assert waited(activity, 60) < 30


def test_a_poller_goes_on_when_the_crowd_has_gone() -> None:
    """At once, and not at the end of the time."""
    activity, entered, end = Activity(), threading.Event(), threading.Event()

    def ask() -> None:
        with activity.answering(), activity.answering():
            entered.set()
            end.wait()

    threading.Thread(target=ask, daemon=True).start()
    entered.wait()
    threading.Timer(0.1, end.set).start()

    assert waited(activity, 60) < 30
    assert end.is_set()  # it gave way for so long


def waited(activity: Activity, seconds: float) -> float:
    began = time.monotonic()
    activity.give_way(seconds)
    return time.monotonic() - began
