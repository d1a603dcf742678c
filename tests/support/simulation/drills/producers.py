"""What Stripe and the services send before, during and after an outage, and what must be true in the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from tests.support.flows.billing_play import wrong
from tests.support.lake.build import KEY
from tests.support.simulation.drills.outages import Outage
from tests.support.simulation.drills.receiver import HOOKED, URL
from tests.support.simulation.kernel.scope import NOW, Plant, plain_encoding
from tests.support.simulation.scopes.lake.tables import declared
from tests.support.simulation.scopes.limits.reservations import limit
from tests.support.simulation.scopes.usage.counting import EARLY, law, setup

import nilometer
from nilometer import CreateMeter, CreateWebhook, CreateWorkspace, operator, perform, service
from nilometer.aws.eventbridge import Bus, BusEntry
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.signature import sign
from nilometer.flows.recovery.verify import CHECKS, STEPS, Verification
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.read.query import query
from nilometer.local.stripe.month import random_month

SECRET = "whsec_of_the_drill"
FIRST = NOW
SOURCE = "/services/s"
STRIPE_WAITS = (60, 300, 900, 3600, *(10_800,) * 20)
"""Seconds until Stripe sends an unanswered webhook again: later each time, for three days."""
_MOMENTS = (-0.2, 0.0, 0.2, 0.5, 0.8, 0.99)
"""When something is sent, in parts of the outage; then once more after it."""
_HELD = 10


class DrillPlan:
    """Fills the tables; knows what is sent and what it comes to."""

    def __init__(self, plant: Plant, outage: Outage) -> None:
        self.plant = plant
        with plain_encoding():
            setup(plant)
            held = CreateMeter(meter="held", unit="u", aggregation="sum")
            paid = CreateMeter(meter="paid", unit="u", aggregation="sum", stripe_event_name="paid")
            for meter in (held, paid):
                perform(plant.store, operator("test"), meter, now=EARLY)
            limit(plant, _HELD, meter="held")
            declared(plant)
            perform(plant.store, service("ws_0", "test"), CreateWorkspace(name="W"), now=EARLY)
            for workspace in HOOKED:
                hook = CreateWebhook(webhook_id="hook", url=URL)
                perform(plant.store, service(workspace, "test"), hook, now=EARLY)
        plant.tables.settle()
        self.stripe = random_month(0, customers=1, steps=2, now=NOW - timedelta(hours=4))
        length = timedelta(minutes=outage.minutes)
        self.moments = [FIRST + timedelta(minutes=1), *(outage.begins + length * part for part in _MOMENTS)]
        self.moments.append(outage.ends + timedelta(minutes=1))
        self.ends = self.moments[-1]
        self.sent: set[str] = set()

    def begin(self, drill: Any) -> None:
        """Puts everything on the agenda."""
        half = len(self.stripe.events) // 2
        events, share = self.stripe.events[half:], -(-half // (len(self.moments) - 2))
        for number, when in enumerate(self.moments):
            mine = events[(number - 1) * share : number * share] if number else self.stripe.events[:half]
            for event in mine:
                body = json.dumps(event).encode()
                drill.at(when, partial(drill.receive, body, partial(_signed, body), STRIPE_WAITS))
            for work in self._of_services(number, when):
                drill.at(when, partial(drill.publish, work))

    def _of_services(self, number: int, when: datetime) -> Sequence[Callable[[Bus], Any]]:
        """Usage below a hard limit and usage that is billed, a new workspace, rows of a dataset."""
        used = [_used(number, meter, workspace, when) for meter, workspace in (("held", "a"), ("paid", "ws_0"))]
        self.sent |= {f"held_{number}", f"paid_{number}"}
        opened = _said(f"open_{number}", "workspace.created.v1", {"name": f"W{number}"}, when, subject=f"w{number}")
        rows = {"dataset": "orders", "rows": [{"id": f"o{number}", "total": 1}]}
        landed = _said(f"land_{number}", "dataset.batch_ready.v1", rows, when)
        return [lambda bus: nilometer.publish(bus, used), lambda bus: bus.publish([opened, landed])]

    # ------------------------------------------------------------------ the laws

    def laws(self, drill: Any) -> None:
        """In the lake, alerted, reported, equal."""
        count = len(self.moments)
        law(drill.state.hits > 0, "nothing met the outage")
        self._in_the_lake(drill.folder.path, count)
        law(bool(drill.receiver.got), "no webhook was posted")
        law(drill.receiver.expected == drill.receiver.got, f"webhooks {drill.receiver.expected ^ drill.receiver.got}")
        told = {item["sk"].split("#")[3] for item in self.plant.store.scan(Table.RECORDS, kind="alert")}
        law({"50", "80", "100"} <= told, f"alerts {told}")
        law(drill.stripe.total == Decimal(2 * count), f"Stripe's meter got {drill.stripe.total} of {2 * count}")
        bad = wrong(self.plant.store, self.stripe)
        law(not bad, f"these differ from Stripe: {bad}")
        self._verified(drill)

    def _in_the_lake(self, path: str, count: int) -> None:
        def ids(sql: str, *datasets: str) -> list[str]:
            return [row[0] for row in query(sql, lake_uri=path, storage_options={}, datasets=datasets).rows]

        usage = ids("select event_id from usage")
        law(sorted(usage) == sorted(self.sent), f"usage {set(usage) ^ self.sent}")
        told = ids("select event_id from stripe_events")
        law(sorted(told) == sorted(one["id"] for one in self.stripe.events), f"{len(told)} events of Stripe")
        rows = ids("select id from datasets.orders", "orders")
        law(sorted(rows) == sorted(f"o{n}" for n in range(count)), f"rows of the dataset {rows}")
        opened = ids("select distinct workspace_id from audit where kind = 'workspace'")
        law({f"w{n}" for n in range(count)} <= set(opened), f"workspaces {opened}")

    def _verified(self, drill: Any) -> None:
        ledger = Ledger(lake_uri=drill.folder.path, storage_options={}, proof_keys=(KEY,))
        sides = {"store": self.plant.store, "ledger": ledger, "objects": self.plant.objects}
        for report in Verification(**sides, now=drill.world.now, grace=timedelta(0)).run((*CHECKS, STEPS)):
            law(report.ok, f"verify {report.check}: {report.differences[:2]}")


def _used(number: int, meter: str, workspace_id: str, when: datetime) -> Any:
    about: dict[str, Any] = {"source": SOURCE, "workspace_id": workspace_id, "meter": meter, "time": when}
    return nilometer.recorded(f"{meter}_{number}", unit="u", quantity=2, **about)


def _said(id_: str, type_: str, data: dict[str, Any], when: datetime, subject: str = "") -> BusEntry:
    about = {"specversion": "1.0", "id": id_, "source": SOURCE, "type": type_, "time": when.isoformat()}
    detail = {**about, **({"subject": subject} if subject else {}), "data": data}
    return BusEntry(source="services.s", detail_type=type_, detail=json.dumps(detail))


def _signed(body: bytes, now: datetime) -> str:
    return sign(body, secret=SECRET, timestamp=int(now.timestamp()))
