"""When EventBridge Scheduler would invoke."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nilometer.errors import Misconfigured
from nilometer.local.sources.schedules import next_time

NOW = "2026-11-23T10:00:00"  # a Monday


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rate(1 minute)", "2026-11-23T10:01:00"),
        ("rate(12 hours)", "2026-11-23T22:00:00"),
        ("rate(2 days)", "2026-11-25T10:00:00"),
        ("at(2026-12-01T08:30:00)", "2026-12-01T08:30:00"),
        ("cron(20 3 * * ? *)", "2026-11-24T03:20:00"),
        ("cron(0/15 * * * ? *)", "2026-11-23T10:15:00"),
        ("cron(0 10 * * ? *)", "2026-11-24T10:00:00"),
        ("cron(5,35 10-12 * * ? *)", "2026-11-23T10:05:00"),
        ("cron(0 8 1 * ? *)", "2026-12-01T08:00:00"),
        ("cron(0 8 L * ? *)", "2026-11-30T08:00:00"),
        ("cron(0 8 ? * MON-FRI *)", "2026-11-24T08:00:00"),
        ("cron(0 8 ? * 1 *)", "2026-11-29T08:00:00"),
        ("cron(0 8 ? * 6L *)", "2026-11-27T08:00:00"),
        ("cron(0 8 ? * 2#1 *)", "2026-12-07T08:00:00"),
        ("cron(0 8 28W * ? *)", "2026-11-27T08:00:00"),
        ("cron(0 8 LW JAN ? 2027)", "2027-01-29T08:00:00"),
        ("cron(0 0 29 2 ? *)", "2028-02-29T00:00:00"),
    ],
)
def test_the_next_time_is_schedulers(expression: str, expected: str) -> None:
    """EventBridge Scheduler User Guide, "Schedule types in EventBridge Scheduler"."""
    assert next_time(expression, after=at(NOW)) == at(expected)


def test_a_time_zone_moves_a_cron() -> None:
    """EventBridge Scheduler User Guide, "Managing time zones"; summer time is the zone's."""
    found = next_time("cron(0 9 * * ? *)", after=at("2026-07-01T00:00:00"), timezone="Europe/Berlin")

    assert found == at("2026-07-01T07:00:00")


@pytest.mark.parametrize("expression", ["at(2026-01-01T00:00:00)", "cron(0 0 1 1 ? 2025)"])
def test_what_is_over_never_comes(expression: str) -> None:
    """EventBridge Scheduler User Guide, "Schedule types in EventBridge Scheduler"."""
    assert next_time(expression, after=at(NOW)) is None


@pytest.mark.parametrize(
    "expression", ["rate(0 minutes)", "rate(5)", "rate(1 year)", "cron(* * * * *)", "cron(0 25 * * ? *)", "daily"]
)
def test_what_scheduler_refuses_is_refused(expression: str) -> None:
    """EventBridge Scheduler API Reference, CreateSchedule: ValidationException."""
    with pytest.raises(Misconfigured):
        next_time(expression, after=at(NOW))


def test_a_schedule_invokes_its_function_with_its_input(deploy: Callable[..., Any]) -> None:
    """EventBridge Scheduler User Guide, "Templated targets": Lambda Invoke, with the input of the target."""
    due = datetime.now(UTC) + timedelta(seconds=15)  # later than the runner has started
    stack = deploy("def handler(event, context): say(event)", schedule=f"at({due:%Y-%m-%dT%H:%M:%S})")

    stack.runner()

    assert stack.until(stack.said) == [{"due": True}]
    assert datetime.now(UTC) >= due.replace(microsecond=0)
