"""A UTC month that does not end under a test: what is sent in one billing period is not shown in the next."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from nilometer.domain.usage.period import calendar_month

LONGEST = timedelta(minutes=3)  # from what a test sends to where it asks for it, on a busy machine


@pytest.fixture(autouse=True)
def whole_month() -> None:
    """No test begins in the last minutes of a month; it waits for the next."""
    end = calendar_month(datetime.now(UTC)).end
    while end - LONGEST < datetime.now(UTC) < end + timedelta(seconds=2):
        time.sleep(1)
