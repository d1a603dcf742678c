"""A workspace with meters, usage events, and what the usage flow makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.support.flows.operations import NOW, envelope

from nilometer import CreateMeter, CreateWorkspace, operator, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Result
from nilometer.domain.store.writes import Table
from nilometer.domain.usage.meter_event import MeterEvent
from nilometer.errors import Unavailable
from nilometer.flows.usage import batch as usage

WORKSPACE = "ws_acme"


class Recording:
    """Stripe's side: counts an identifier once; `loses` answers after it has counted."""

    def __init__(self, *, loses: int = 0) -> None:
        self.events: dict[str, MeterEvent] = {}
        self.loses = loses

    def send(self, event: MeterEvent) -> None:
        assert self.events.setdefault(event.identifier, event) == event
        if self.loses:
            self.loses -= 1
            raise Unavailable("no answer")

    @property
    def total(self) -> Decimal:
        return sum((event.value for event in self.events.values()), Decimal(0))


def cloud(
    id_: str = "e1",
    *,
    quantity: Any = "10",
    meter: str = "api_calls",
    unit: str = "call",
    workspace: str = WORKSPACE,
    time: datetime = NOW,
    type_: str = "usage.recorded.v1",
    source: str = "/services/inference",
    dimensions: dict[str, str] | None = None,
) -> dict[str, Any]:
    data: dict[str, Any] = {"meter": meter, "quantity": quantity, "unit": unit}
    return {
        "specversion": "1.0",
        "id": id_,
        "source": source,
        "type": type_,
        "subject": workspace,
        "time": time.isoformat(),
        "data": data | ({"dimensions": dimensions} if dimensions else {}),
    }


def void(of: str, id_: str = "v1", **given: Any) -> dict[str, Any]:
    event = cloud(id_, type_="usage.voided.v1", **given)
    return event | {"data": {"id": of, "reason": "test run"}}


def batch(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "batch1",
        "source": "/services/inference",
        "type": "usage.batch.v1",
        "time": NOW.isoformat(),
        "data": {"events": list(events)},
    }


def changed(workspace: str | None, kind: str = "workspace", pk: str = "") -> str:
    return envelope(
        {
            "specversion": "1.0",
            "id": "c1",
            "source": "nilometer.changes",
            "type": "record.changed.v1",
            "time": NOW.isoformat(),
            "data": {"kind": kind, "action": "INSERT", "workspace_id": workspace, "pk": pk},
        }
    )


@pytest.fixture
def ready(store: Store) -> Store:
    return prepare(store)


def prepare(store: Store) -> Store:
    """A workspace and meters."""
    early = datetime(2026, 1, 1, tzinfo=UTC)
    perform(store, service(WORKSPACE, "test"), CreateWorkspace(name="Acme"), now=early)
    perform(
        store,
        operator("test"),
        CreateMeter(meter="api_calls", unit="call", aggregation="sum", dimensions=["model"]),
        now=early,
    )
    perform(store, operator("test"), CreateMeter(meter="seats", unit="seat", aggregation="max"), now=early)
    perform(
        store,
        operator("test"),
        CreateMeter(meter="users", unit="user", aggregation="unique", dimensions=["user"]),
        now=early,
    )
    perform(store, operator("test"), CreateMeter(meter="disk", unit="gb", aggregation="latest"), now=early)
    return store


def handle(store: Store, objects: Objects, *events: Any, now: datetime = NOW, **given: Any) -> list[Result]:
    bodies = [event if isinstance(event, str) else envelope(event) for event in events]
    messages = [Message(str(n), body) for n, body in enumerate(bodies)]
    return usage.handle(messages, store=store, objects=objects, now=now, **given)


def outcomes(results: Iterable[Result]) -> list[str]:
    return [str(result.outcome) for result in results]


def totals(store: Store, scope: str = "period", workspace: str = WORKSPACE) -> dict[str, Decimal]:
    """Totals by meter, over shards and periods."""
    found: dict[str, Decimal] = {}
    for item in store.query(Table.RECORDS, f"WORKSPACE#{workspace}", prefix="USAGE#"):
        if item["scope"] == scope:
            found[item["meter"]] = found.get(item["meter"], Decimal(0)) + item["total"]
    return found
