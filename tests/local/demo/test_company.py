"""The month of the demo's company."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.usage.period import calendar_month
from nilometer.local.demo.company import usage


@pytest.mark.parametrize("hours", ["00:00:00", "00:00:01", "03:00:00", "12:00:00"])
def test_usage_is_of_the_calendar_month_of_now(hours: str) -> None:
    """Also in its first hours: who has no subscription is counted by calendar months."""
    now = datetime.fromisoformat(f"2026-12-01T{hours}").replace(tzinfo=UTC)
    times = [parse_rfc3339(json.loads(event)["time"]) for event in usage(now, seed=1).events]

    assert calendar_month(now).start <= min(times) <= max(times) <= now
