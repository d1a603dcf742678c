"""`nilometer demo`: a fresh stack, a company's month through it, and a comparison with the truth at the end.

`nilometer cost` plays the same month, and counts.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import nilometer
from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import Bus, BusEntry
from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.signature import sign
from nilometer.errors import Unavailable
from nilometer.flows.recovery import overview
from nilometer.lake.read.query import TableDescription, describe, query
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.tables.tables import open_or_create
from nilometer.local.demo import company, measured
from nilometer.local.demo.cost import EventKind, Run
from nilometer.local.demo.delivery import WebhookClient
from nilometer.local.plane.counting import Counts
from nilometer.local.stack.idle import await_idle
from nilometer.local.stack.stack import Options, Stack, stack
from nilometer.local.stripe.world import StripeWorld

ACTOR = "nilometer demo"
SEED = 7
FORGED = "whsec_of_somebody_else"
IDLE_SECONDS = 300
ANNOUNCED = 200
_FELT = ("ChangesOnBus", "LogLevel")  # the others change what runs without events, or only how often
ENVELOPE_BYTES = 300  # source, account, region, time and ids around the detail of an event
SAMPLE_ROWS = 3
SAMPLES = {
    "stripe_events": """
        select created_at, type, workspace_id, source from stripe_events
        where workspace_id is not null order by created desc, event_id""",
    "usage": """
        select time, workspace_id, meter, quantity, unit from usage
        order by created desc, event_id""",
    "audit": """
        select occurred_at, workspace_id, action, old_image ->> '$.status' as before, new_image ->> '$.status' as after
        from audit where kind = 'billing' and workspace_id is not null and before is distinct from after
        order by occurred_at desc, sequence_number desc""",
}
QUESTION = """\
select date_trunc('week', created_at)::date as week,
       count(*) filter (type = 'invoice.payment_failed') as failed,
       count(*) filter (type = 'invoice.paid') as paid,
       sum((payload ->> '$.data.object.amount_paid')::int / 100)
         filter (type = 'invoice.paid') as revenue
from stripe_events group by week order by week"""


class DemoProgress(Protocol):
    """Somebody who watches."""

    def stage(self, text: str, total: int | None = None) -> None:
        """A new stage begins, and the one before is done; `total` is how many `advance` will follow, if known."""

    def advance(self) -> None:
        """One more step of the current stage is done. Called from one thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCheck:
    """One promise and whether it held; `detail` says what was found."""

    promise: str
    held: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What was delivered, copies included, and how many different events these were."""

    deliveries: int
    distinct: int

    @property
    def copies(self) -> int:
        """Deliveries that repeat an event."""
        return self.deliveries - self.distinct


@dataclass(frozen=True, slots=True)
class FirstRows:
    """The answer to a query: names of columns, and at most as many rows as were wanted."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """All that the demo shows. `start_seconds` of `seconds` went into starting the stack."""

    seconds: float
    start_seconds: float
    stripe: Sent
    usage: Sent
    billing: Sequence[Mapping[str, Any]]
    used: Sequence[overview.WorkspaceUsage]
    tables: Sequence[TableDescription]
    samples: Mapping[str, FirstRows]
    question: str
    answer: FirstRows
    checks: Sequence[DemoCheck]

    @property
    def passed(self) -> bool:
        """Whether every check held; the exit code of `nilometer demo` depends on it."""
        return all(check.held for check in self.checks)


def demo(*, keep: Path | None, progress: DemoProgress) -> DemoReport:
    """Plays the month and reads everything back. The stack is stopped afterwards; `keep` keeps its state."""
    began = time.monotonic()
    progress.stage("starting the stack: engine, template.yaml, functions")
    with stack(Options(port=0, aws_port=0, data=keep)) as running:
        started = time.monotonic()
        play = _Play(running, progress)
        play.all()
        progress.stage("asking the tables and the lake")
        return play.report(began=began, started=started)


def count(*, progress: DemoProgress, batched: bool = False, parameters: Mapping[str, str] | None = None) -> Run:
    """The same month, and what a service announces, through a stack whose requests are counted.

    `parameters` are those of template.yaml; the stack runs with the ones that change what its functions do.
    `batched`: usage is published as `nilometer.publish` does, up to a hundred events together. The lake's tables are
    made before, for that is done once.
    """
    progress.stage("starting the stack: engine, template.yaml, functions")
    with stack(Options(port=0, aws_port=0, counted=True, parameters=felt(parameters or {}))) as running:
        assert running.counter  # noqa: S101  # asked for
        play = _Play(running, progress, batched=batched)
        play.make_tables()
        running.counter.reset()
        play.all()
        play.announce()
        counts, functions = running.counter.counts(), running.runner.status().functions
        tables = measured.tables(running)
        progress.stage("counting two runs of the lake's maintenance, an hourly and a daily one")
        return Run(
            counts=counts,
            functions=functions,
            deployment=running.runner.deployment,
            upkeep=_counted_upkeep(running, vacuums=False),
            vacuum=_counted_upkeep(running, vacuums=True),
            batched=play.usage_sent if batched else 0,
            fact_bytes=measured.fact_bytes(running),
            bus_bytes=play.bus_bytes(),
            metrics=measured.metrics(running),
            tables=tables,
        )


def felt(parameters: Mapping[str, str]) -> dict[str, str]:
    """Those that change what a function does at an event."""
    return {name: value for name, value in parameters.items() if name in _FELT}


def _counted_upkeep(running: Stack, *, vacuums: bool) -> Counts:
    assert running.counter  # noqa: S101  # asked for
    running.counter.reset()
    running.runner.invoke("MaintenanceFunction", json.dumps({"vacuums": vacuums}).encode())
    return running.counter.counts()


class _Play:
    """One month through one stack."""

    def __init__(self, running: Stack, progress: DemoProgress, *, batched: bool = False) -> None:
        about = running.description
        self._stack = running
        self._progress = progress
        self._now = datetime.now(UTC)
        self._world = company.month(self._now, seed=SEED)
        self._usage = company.usage(self._now, seed=SEED)
        self._events = _shuffled_with_copies(self._world)
        self._endpoint = WebhookClient(about.webhook_url, secret=str(about.stripe_secret))
        self._bus = Bus(running.client("events"), name=about.bus)
        self._store = Store(running.client("dynamodb"), records=about.records_table, events=about.events_table)
        self._forged = 0
        self._batched = batched

    @property
    def usage_sent(self) -> int:
        """Usage events, copies too."""
        return len(self._usage.events)

    def bus_bytes(self) -> dict[EventKind, float]:
        """Of an event on the bus, with the bus's envelope."""
        webhooks, usage = list(map(len, self._events)), list(map(len, self._usage.events))
        return {
            EventKind.WEBHOOK: sum(webhooks) / len(webhooks) + ENVELOPE_BYTES,
            EventKind.USAGE: sum(usage) / len(usage) + (0 if self._batched else ENVELOPE_BYTES),
        }

    def make_tables(self) -> None:
        """All of the lake's, without a row."""
        for table in ALL_TABLES.values():
            open_or_create(self._lake, table, self._options)

    def all(self) -> None:
        """Usage follows when billing is known: it counts in the period of its subscription at once."""
        self._post()
        self._progress.stage("billing: any order, any copies, one state")
        self._drained("BillingQueue")
        self._publish()
        self._progress.stage("counting")
        self._drained("UsageQueue")
        self._progress.stage(f"naming {company.UNKNOWN_YET}: what waited for it counts now")
        nilometer.perform(
            self._store,
            nilometer.service(company.UNKNOWN_YET, ACTOR),
            nilometer.CreateWorkspace(name="Siwa"),
            now=datetime.now(UTC),
        )
        self._progress.stage("writing the lake")
        await_idle(self._stack.status, timeout=IDLE_SECONDS)

    def announce(self) -> None:
        """Workspaces that a service of the company opens."""
        self._progress.stage("publishing operations events on the bus", ANNOUNCED // 10)
        self._send([company.workspace_created(f"nome-{number}", time=self._now) for number in range(ANNOUNCED)])
        self._progress.stage("writing the lake")
        await_idle(self._stack.status, timeout=IDLE_SECONDS)

    def _post(self) -> None:
        self._progress.stage("posting signed webhooks: shuffled, three of ten twice, one forged", len(self._events))
        forged = sign(self._events[0], secret=FORGED, timestamp=int(time.time()))
        self._forged, _ = self._endpoint.post(self._events[0], forged)
        for delivery in self._endpoint.deliver_all(enumerate(self._events)):
            if not delivery.taken:
                raise Unavailable(f"the webhook answered {delivery.status}: {delivery.reason}")
            self._progress.advance()

    def _publish(self) -> None:
        """Copies and all, and one event of a meter that cannot be: no slug has a hyphen."""
        stray = company.cloud_event(
            "stray", workspace="thebes", meter="camel-hours", quantity=Decimal(1), time=self._now
        )
        self._progress.stage("publishing usage events on the bus", len(self._usage.events) // 10)
        if self._batched:
            nilometer.publish(self._bus, map(json.loads, (*self._usage.events, stray)))
        else:
            self._send([*self._usage.events, stray])

    def _send(self, events: Sequence[str]) -> None:
        entries = [BusEntry(source="demo", detail_type=json.loads(event)["type"], detail=event) for event in events]
        for start in range(0, len(entries), 10):
            self._bus.publish(entries[start : start + 10])
            self._progress.advance()

    def _drained(self, queue: str) -> None:
        """Waits for one queue alone; the lake may still be writing."""
        await_idle(lambda: _only(queue, self._stack.status()), timeout=IDLE_SECONDS)

    def report(self, *, began: float, started: float) -> DemoReport:
        used = [
            overview.usage_of(self._store, workspace, now=datetime.now(UTC), at=self._now)
            for workspace in dict.fromkeys(workspace for workspace, _ in self._usage.totals)
        ]
        billing = list(overview.billing(self._store, now=datetime.now(UTC)))
        samples = {name: self._ask(sql, SAMPLE_ROWS) for name, sql in SAMPLES.items()}
        return DemoReport(
            billing=billing,
            used=used,
            tables=describe(lake_uri=self._lake, storage_options=self._options),
            samples=samples,
            question=QUESTION,
            answer=self._ask(QUESTION),
            checks=list(self._checks(billing, used)),
            stripe=Sent(deliveries=len(self._events), distinct=len(self._world.events)),
            usage=Sent(deliveries=len(self._usage.events), distinct=self._usage.distinct),
            start_seconds=round(started - began, 1),
            seconds=round(time.monotonic() - began, 1),
        )

    @property
    def _lake(self) -> str:
        return self._stack.description.lake_uri

    @property
    def _options(self) -> dict[str, str]:
        return storage_options(self._stack.description.environment)

    def _ask(self, sql: str, most: int | None = None) -> FirstRows:
        found = query(sql, lake_uri=self._lake, storage_options=self._options)
        return FirstRows(found.columns, list(islice(found.rows, most)))

    def _checks(
        self, billing: Sequence[Mapping[str, Any]], used: Sequence[overview.WorkspaceUsage]
    ) -> Iterator[DemoCheck]:
        yield _same(
            "every Stripe event is in the lake once",
            self._ask("select count(*), count(distinct event_id) from stripe_events").rows[0],
            (len(self._world.events),) * 2,
        )
        yield _same(
            "every usage event is in the lake once",
            self._ask("select count(*), count(distinct event_id) from usage").rows[0],
            (self._usage.distinct,) * 2,
        )
        counted = {(one.workspace, meter.meter): meter.used for one in used for meter in one.meters if meter.count}
        yield _same("the counters are the sums of what was sent", counted, self._usage.totals)
        in_lake = self._ask("select workspace_id, meter, sum(quantity) from usage group by all").rows
        yield _same("the lake adds up to the counters", {(w, m): q for w, m, q in in_lake}, counted)
        yield _same("every subscription is what Stripe says", _seen(billing), _true(self._world))
        yield _same("the forged webhook was refused", self._forged, 400)
        rejected = [item["reason"] for item in self._store.scan(Table.EVENTS, kind="reject")]
        yield _same("the unknown meter was refused and kept", rejected, ["unknown_meter"])
        dead = {name: count for name, count in self._stack.status()["dead_letters"].items() if count}
        yield _same("nothing is in a dead-letter queue", dead, {})


def _only(queue: str, status: Mapping[str, Any]) -> dict[str, Any]:
    """The status as if there were nothing else."""
    queues = {name: counts for name, counts in status["queues"].items() if f"-{queue}-" in name}
    idle = not any(count for counts in queues.values() for count in counts.values())
    return {"queues": queues, "streams": {}, "idle": idle}


def _shuffled_with_copies(world: StripeWorld) -> list[bytes]:
    events = [json.dumps(event) for event in world.events]
    return [event.encode() for event in company.with_copies(events, random.Random(SEED))]


def _same(promise: str, found: object, wanted: object) -> DemoCheck:
    return DemoCheck(promise=promise, held=found == wanted, detail="" if found == wanted else f"{found}, not {wanted}")


def _seen(billing: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        subscription["id"]: (
            subscription["status"],
            [(item["price"], item["quantity"]) for item in subscription["items"]],
        )
        for workspace in billing
        for subscription in workspace["subscriptions"]
    }


def _true(world: StripeWorld) -> dict[str, Any]:
    return {
        id_: (known["status"], [(item["price"]["id"], item["quantity"]) for item in known["items"]["data"]])
        for id_, known in world.objects.items()
        if known["object"] == "subscription"
    }
