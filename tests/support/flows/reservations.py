"""Requests for a reservation, and what is left of an allowance."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.support.flows.limits import limited
from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE

from nilometer import CreateMeter, operator, perform
from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.flows.limits.reserving import Reserved, reserve
from nilometer.flows.usage.known import Known

START = "2026-11-01T00:00:00.000Z"


def ask(known: Known, id_: str, quantity: int = 10, **given: Any) -> Reserved:
    wanted: dict[str, Any] = {"ttl": timedelta(minutes=5), "now": NOW, "meter": "api_calls"}
    return reserve(known, id_, workspace_id=WORKSPACE, quantity=Decimal(quantity), **{**wanted, **given})


def jobs(store: Store, *, hard: int) -> None:
    """A meter that counts events, with a hard limit."""
    perform(store, operator("test"), CreateMeter(meter="jobs", unit="job", aggregation="count"), now=NOW)
    limited(store, meter="jobs", hard=hard)


def left(store: Store, meter: str = "api_calls") -> tuple[Any, Any]:
    item = store.get(Table.RECORDS, keys.allowance(WORKSPACE, meter, START)) or {}
    return item.get("remaining"), item.get("reserved")
