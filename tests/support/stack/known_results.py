"""What the commands print that run a stack of their own for half a minute, drawn from results that are known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from nilometer.cli import run
from nilometer.cli.console import reproduce
from nilometer.cli.privacy import erase
from nilometer.cli.stack import cost
from nilometer.domain.limits.limit import State
from nilometer.domain.recovery.erasure import Fate
from nilometer.domain.store.writes import Key
from nilometer.flows.privacy.found import Found
from nilometer.flows.recovery.overview import MeterUsage, WorkspaceUsage
from nilometer.flows.recovery.reproduce import ReproducedRecord, Scene
from nilometer.lake.read.query import TableDescription
from nilometer.local.demo.bill import BillLine
from nilometer.local.demo.bill import as_json as bill_json
from nilometer.local.demo.cost import Cost, EventKind
from nilometer.local.demo.demo import DemoCheck, DemoReport, FirstRows, Sent
from nilometer.local.demo.prices import prices

PERIOD = {"start": 1_793_491_200, "end": 1_796_083_200}


def _billing(workspace: str, plan: str, status: str, seats: int, limit: int | None) -> dict[str, Any]:
    limits = {"api_calls": limit, "storage_gb_hours": 72_000}
    made = {"workspace": workspace, "plan": plan, "status": status, "seats": seats, "limits": limits}
    return {**made, "period": PERIOD, "cancellation": {"cancel_at": PERIOD["end"]} if status == "active" else None}


def _used(workspace: str, used: int, limit: int, state: State) -> WorkspaceUsage:
    meter = MeterUsage(
        meter="api_calls",
        unit="call",
        used=Decimal(used),
        count=used,
        limit=Decimal(limit),
        hard=Decimal(limit * 2),
        binding=Decimal(limit),
        state=state,
        period_start="2026-11-01T00:00:00.000Z",
        period_end="2026-12-01T00:00:00.000Z",
        closed=False,
        late_delta=Decimal(3),
        late_count=2,
    )
    return WorkspaceUsage(workspace=workspace, known=True, meters=(meter,), waiting=0)


REPORT = DemoReport(
    seconds=31,
    start_seconds=4,
    stripe=Sent(deliveries=196, distinct=151),
    usage=Sent(deliveries=1_989, distinct=1_530),
    billing=[
        _billing("aswan", "papyrus", "active", 3, 3_000),
        _billing("philae", "granite", "past_due", 12, None),
    ],
    used=[_used("aswan", 2_750, 3_000, State.OK), _used("philae", 12_345_678, 12_000_000, State.SOFT_EXCEEDED)],
    tables=[
        TableDescription(name="stripe_events", location="s3://lake", version=4, rows=151, files=5, bytes=1),
        TableDescription(name="usage", location="s3://lake", version=9, rows=1_530, files=9, bytes=1),
        TableDescription(name="invoices_history", location="s3://lake", version=2, rows=88, files=2, bytes=1),
        TableDescription(name="refunds_history", location="s3://lake", version=None, rows=0, files=0, bytes=0),
    ],
    samples={
        "stripe_events": FirstRows(
            ["event_id", "type", "created", "workspace_id", "customer"],
            [
                [
                    "evt_1NilometerCreated0001",
                    "customer.subscription.created",
                    "2026-11-01",
                    "aswan",
                    "cus_NilometerOne",
                ]
            ],
        ),
        "usage": FirstRows(["time", "workspace_id", "meter", "quantity"], [["2026-11-29", "aswan", "api_calls", 3]]),
    },
    question="select workspace_id, sum(quantity) from usage where meter = 'api_calls' group by all order by all",
    answer=FirstRows(["workspace_id", "sum"], [["aswan", Decimal(2_750)], ["philae", Decimal(12_345_678)]]),
    checks=[
        DemoCheck(promise="every Stripe event is in the lake once", held=True, detail="151"),
        DemoCheck(promise="the counters are the sums of what was sent", held=False, detail="philae 3, not 4"),
    ],
)
COSTS = [
    Cost(
        kind=kind, events=1_000, amounts={"http_request": Decimal(1_000), "write_unit": Decimal(2_500)}, lake_batches=9
    )
    for kind in EventKind
]
BILL = [
    BillLine(what="alarms", fixed=True, usd=Decimal("1.5")),
    BillLine(what="webhooks", fixed=False, usd=Decimal("0.12")),
]
SCENE = Scene(trace=None, after={}, before={}, bodies=[b"{}"])  # type: ignore[arg-type]
REPRODUCED = [
    ReproducedRecord(key=Key("WORKSPACE#aswan", "BILLING"), kind="billing"),
    ReproducedRecord(
        key=Key("REGISTER#acct_self#test#sub_1NilometerSubscription", "REGISTER"),
        kind="register",
        differs={"status": ("past_due", "active"), "current_period_end": ("2026-12-01", "2026-11-01")},
    ),
]


FOUND = [
    Found(
        place="records",
        kind="membership",
        name="WORKSPACE#aswan MEMBER#heidi",
        fate=Fate.ERASE,
        why="the person is a member",
    ),
    Found(
        place="audit",
        kind="row",
        name="change-1",
        fate=Fate.KEEP,
        why="Stripe's id in the reason of a change: it proves what a bill was made of",
    ),
]


def _erased(monkeypatch: pytest.MonkeyPatch) -> None:
    erase._report(FOUND, 1, ["heidi"], dry_run=True, as_json=False)


def _demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["nilometer.local.demo.demo"], "demo", lambda **_: REPORT)
    assert run(["demo"]) == 3


def _costs(monkeypatch: pytest.MonkeyPatch) -> None:
    cost._show(COSTS, prices())


def _month(monkeypatch: pytest.MonkeyPatch) -> None:
    cost._show_month(bill_json(BILL, prices()))


def _reproduced(monkeypatch: pytest.MonkeyPatch) -> None:
    reproduce._show(SCENE, REPRODUCED, 21, as_json=False)


# A line as it would be typed, and what prints its answer.
DRAWN: Mapping[str, Callable[[pytest.MonkeyPatch], None]] = {
    "demo": _demo,
    "cost": _costs,
    "cost --stripe 300/day": _month,
    "erase heidi@example.com heidi --dry-run": _erased,
    "reproduce evt_1NilometerCreated0001": _reproduced,
}
