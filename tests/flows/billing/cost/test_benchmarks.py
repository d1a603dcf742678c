"""Figures of benchmarks that are cheap to measure, against generous bounds: a fall is seen before anybody measures."""

from __future__ import annotations

from typing import Any

from benchmarks import growth, workers
from tests.support.project import least

from nilometer.local.stripe.month import random_month


def test_a_large_workspace_costs_not_much_more_than_it_did() -> None:
    """Of 400 subscriptions that renew at times of their own an event costs about five times the CPU of one, and each
    takes 90 bytes of the record. (It was 40 times while each period was compared with all others.)"""
    found = []

    def times() -> float:
        found.append(list(growth.compare([1, 400], events=10, rounds=3))[1])
        return float(found[-1]["times"])

    assert least(times, wanted=8) <= 10
    assert found[0]["record_bytes"] <= 45_000


def test_two_workers_on_one_backlog_end_true(aws: Any) -> None:
    """Two processes that meet all the time: nothing is wrong, and requests stay within three times one worker's."""
    world = random_month(1, customers=20)
    (name, before, backlog), *_ = workers.orders(world, 300)
    one, two = (
        workers.measure(aws.endpoint_url, world, before, backlog, design="ours", workers=count) for count in (1, 2)
    )

    assert name == "in order"
    assert (one["wrong"], two["wrong"]) == (0, 0)
    assert two["requests"] <= 3 * one["requests"]
