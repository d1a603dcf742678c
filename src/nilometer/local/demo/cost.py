"""What a million events of each kind cost on AWS: the counted requests of a run, times the list prices.

What belongs to a kind is known from who asked (a function), and on what (a queue, a table of the lake). What several
kinds share, the relay of the facts, is divided by their numbers of events.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from nilometer.local.demo.prices import Prices
from nilometer.local.plane.charges import DELIVERED, EMPTY, READS, WRITES, Charge
from nilometer.local.plane.counting import Counts
from nilometer.local.plane.deployed import Deployment, logical
from nilometer.local.stack.runner import HTTP
from nilometer.local.stack.status import FunctionStatus
from nilometer.local.workers.pool import Used

MILLION = 1_000_000
ESTIMATES = (
    "Lambda: seconds on a processor of this machine (512 MB have a third of one), and 10 to 100 ms a request",
    "Lambda: the relay of the facts, and the log of a shared function, are divided by events and by seconds",
    "S3 and the lake's Lambda: a commit costs the same whatever its rows, and batches wait 20 s on AWS, 1 s here",
    "DynamoDB: what a condition refused is billed by the size of what was to be written",
)
NOT_COUNTED = (
    "Stripe's fees",
    "storage: tables, point-in-time recovery, lake, archive, logs",
    "the archive's intake, metrics, alarms, the dashboard, what Lambda itself writes to the log",
    "data transfer, requests of your own services and analysts, cold starts, secrets",
    "what runs without events: empty polls, schedules, the lake's upkeep; batches of datasets",
    "free tiers and discounts",
)


class EventKind(StrEnum):
    """What the cost of a million is given for; the value is the heading of its row."""

    WEBHOOK = "Stripe webhook"
    USAGE = "usage event"
    OPERATION = "operations event or notice"
    CHANGE = "change of a record"


FACTS = (EventKind.WEBHOOK, EventKind.USAGE, EventKind.OPERATION)

BY_FUNCTION = {
    "WebhookFunction": EventKind.WEBHOOK,
    "BillingFunction": EventKind.WEBHOOK,
    "UsageFunction": EventKind.USAGE,
    "LimitsFunction": EventKind.USAGE,
    "OperationsFunction": EventKind.OPERATION,
    "ChangesFunction": EventKind.CHANGE,
}
BY_QUEUE = {
    "BillingQueue": EventKind.WEBHOOK,
    "LakeStripeEventsQueue": EventKind.WEBHOOK,
    "UsageQueue": EventKind.USAGE,
    "LakeUsageQueue": EventKind.USAGE,
    "OperationsQueue": EventKind.OPERATION,
    "LakeAuditQueue": EventKind.CHANGE,
}
NOBODYS = frozenset(
    {
        *("ApiFunction", "ConsoleFunction", "ReconcileFunction", "MaintenanceFunction", "RedriveFunction"),
        *("DatasetsFunction", "DatasetsQueue", "HooksFunction", "HooksQueue"),
    }
)
"""As `NOT_COUNTED` says."""
_FED_BY_BUS = frozenset({"BillingQueue", "UsageQueue", "OperationsQueue", "LakeAuditQueue"})
BY_PREFIX = {"lake/stripe_events": EventKind.WEBHOOK, "lake/usage": EventKind.USAGE, "lake/audit": EventKind.CHANGE}


ANSWER_SECONDS = {"dynamodb": 0.01, "sqs": 0.02, "events": 0.02, "s3": 0.1, "secretsmanager": 0.02}
"""Until a service of AWS answers: DynamoDB "single-digit milliseconds", S3 "100-200 milliseconds" for small objects, by
their guides on performance; the others are our estimate, rather more than less."""

_NOTHING = Counts(requests=0, read=0, written=0, charges=())


@dataclass(frozen=True, slots=True, kw_only=True)
class TableUse:
    """Of one table of the lake in a run; `files` of rows that its commits wrote, one for each day of their rows."""

    commits: int
    rows: int
    files: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was counted while events went through a stack."""

    counts: Counts
    functions: Mapping[str, FunctionStatus]
    deployment: Deployment
    upkeep: Counts = field(default_factory=lambda: _NOTHING)
    """Of one run of maintenance over what the events had left."""
    vacuum: Counts = field(default_factory=lambda: _NOTHING)
    """Of one that deletes files, too."""
    batched: int = 0
    """Usage events that came in batches: then an event of the bus is many of usage."""
    fact_bytes: Mapping[EventKind, float] = field(default_factory=dict)
    """Of a stored fact, as DynamoDB counts them, at the mean."""
    bus_bytes: Mapping[EventKind, float] = field(default_factory=dict)
    """Of an event in the archive, at the mean."""
    metrics: int = 0
    """Of our own: different names with their dimensions in the logs."""
    tables: Mapping[str, TableUse] = field(default_factory=dict)
    """By their place, `lake/usage`: a webhook has rows in some tables alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one kind. `amounts` are what was counted, by the name of its price; `lake_batches` its commits' batches."""

    kind: EventKind
    events: int
    amounts: Mapping[str, Decimal]
    lake_batches: int

    def by_service(self, prices: Prices) -> dict[str, Decimal]:
        """Dollars per million events."""
        found = dict.fromkeys(prices.services, Decimal(0))
        for name, amount in self.amounts.items():
            found[prices[name].service] += prices[name].of(amount) * MILLION / max(self.events, 1)
        return found

    def per_million(self, prices: Prices) -> Decimal:
        """Dollars per million events, over all services."""
        return sum(self.by_service(prices).values(), Decimal(0))


def costs(run: Run) -> list[Cost]:
    """One of every kind that had events."""
    events = _events(run)
    amounts: dict[EventKind, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for kind, name, amount in (*_requests(run.counts), *_functions(run, events)):
        amounts[kind][name] += amount
    batches = _lake_batches(run)
    return [
        Cost(kind=kind, events=events[kind], amounts=_decimals(amounts[kind]), lake_batches=batches[kind])
        for kind in EventKind
        if events[kind]
    ]


def _decimals(amounts: Mapping[str, float]) -> dict[str, Decimal]:
    return {name: Decimal(str(amount)) for name, amount in amounts.items()}


def _events(run: Run) -> Counter[EventKind]:
    """What came from outside, copies too; a change is one that the relay published."""
    found = Counter[EventKind]()
    for charge, _ in run.counts.charges:
        if charge.operation == DELIVERED and logical(charge.resource) == "OperationsQueue":
            found[EventKind.OPERATION] += charge.items
        elif charge.operation == "PutEvents" and (kind := _published_kind(charge)) in {
            EventKind.USAGE,
            EventKind.CHANGE,
        }:
            found[kind] += charge.items
    for name, function in run.functions.items():
        if logical(name) == "WebhookFunction" and HTTP in function.used:
            found[EventKind.WEBHOOK] = function.used[HTTP].invocations
    if run.batched:
        found[EventKind.USAGE] = run.batched
    return found


# ---------------------------------------------------------------- requests


def _requests(counts: Counts) -> Iterator[tuple[EventKind, str, float]]:
    for charge, requests in counts.charges:
        kind, name, amount = _kind(charge), priced(charge), charge.billed
        if kind and name:
            yield kind, name, amount if charge.service != "s3" else requests


def _kind(charge: Charge) -> EventKind | None:
    """None for what no event caused: an operator's or an analyst's requests, deployments, schedules."""
    match charge.service:
        case "events":
            return _published_kind(charge)
        case "sqs":
            return BY_QUEUE.get(logical(charge.resource))
        case "s3":
            return kind_below(charge.resource) or BY_FUNCTION.get(logical(charge.caller))
        case _:
            return BY_FUNCTION.get(logical(charge.caller))


def kind_below(prefix: str) -> EventKind | None:
    """Whose a table of the lake is; the books follow from what webhooks bring."""
    return BY_PREFIX.get(prefix) or (EventKind.WEBHOOK if prefix.endswith("_history") else None)


def _published_kind(charge: Charge) -> EventKind | None:
    if charge.caller:
        return BY_FUNCTION.get(logical(charge.caller))
    return EventKind.USAGE if charge.resource.startswith("usage.") else EventKind.OPERATION


def priced(charge: Charge) -> str | None:
    """The name of its price; None for what is free."""
    match charge.service, charge.operation:
        case "dynamodb", operation if operation in WRITES:
            return "write_unit"
        case "dynamodb", operation if operation in READS:
            return "read_unit"
        case "events", "PutEvents":
            return "bus_event"
        case "sqs", operation if operation == DELIVERED:
            # The bus sends as anybody does; what a function sends is counted where it sends.
            return "queue_request" if logical(charge.resource) in _FED_BY_BUS else None
        case "sqs", operation if operation not in {EMPTY, "GetQueueAttributes"}:
            return "queue_request"
        case "s3", operation if operation != "DELETE":
            return "object_write" if operation in {"PUT", "POST", "LIST"} else "object_read"
        case _:
            return None


# ---------------------------------------------------------------- functions


def _functions(run: Run, events: Mapping[EventKind, int]) -> Iterator[tuple[EventKind, str, float]]:
    for name, function in run.functions.items():
        gigabytes = run.deployment.functions[name].memory / 1024
        seconds: dict[EventKind, float] = defaultdict(float)
        for source, used in function.used.items():
            for kind, share in _shares(logical(name), logical(source), events):
                yield kind, "function_request", used.invocations * share
                took = billed_seconds(run, name, used)
                yield kind, "function_gb_second", took * gigabytes * share
                seconds[kind] += took * share
                if source == HTTP:
                    yield kind, "http_request", used.invocations
        for kind, part in seconds.items():
            yield kind, "log_gb", function.log_bytes / 1e9 * part / max(sum(seconds.values()), 1e-9)


def billed_seconds(run: Run, name: str, used: Used) -> float:
    """What calls of a function take on AWS: on a processor, and waiting for answers. Not this machine's clock.

    How long a call waits here depends on what else the machine does; where it does not say what a process was on a
    processor, the clock is all there is.
    """
    if not used.cpu:
        return used.seconds
    calls = sum(one.invocations for one in run.functions[name].used.values())
    waits = sum(
        requests * ANSWER_SECONDS.get(charge.service, 0.0)
        for charge, requests in run.counts.charges
        if charge.caller == name
    )
    return used.cpu + waits * used.invocations / calls


def _shares(function: str, source: str, events: Mapping[EventKind, int]) -> list[tuple[EventKind, float]]:
    """Whose an invocation is. A schedule's is nobody's."""
    if source == "EventsTable":
        total = sum(events[kind] for kind in FACTS)
        return [(kind, events[kind] / total) for kind in FACTS if events[kind]]
    if source not in {*BY_QUEUE, "RecordsTable", HTTP}:
        return []
    kind = BY_QUEUE.get(source) if function == "LakeFunction" else BY_FUNCTION.get(function)
    return [(kind, 1.0)] if kind else []


def _lake_batches(run: Run) -> Counter[EventKind]:
    found = Counter[EventKind]()
    for name, function in run.functions.items():
        if logical(name) == "LakeFunction":
            for queue, used in function.used.items():
                found[BY_QUEUE[logical(queue)]] += used.invocations
    return found


def as_json(found: list[Cost], prices: Prices) -> dict[str, Any]:
    """What `nilometer cost --json` prints: for each kind its dollars, by service too, and what was counted."""
    return {
        "region": prices.region,
        "dated": prices.dated,
        "kinds": [
            {
                "kind": cost.kind,
                "events": cost.events,
                "usd_per_million": _rounded(cost.per_million(prices)),
                "by_service": {service: _rounded(usd) for service, usd in cost.by_service(prices).items()},
                "counted": cost.amounts,
                "lake_batches": cost.lake_batches,
            }
            for cost in found
        ],
        "prices": listed(prices),
        "estimates": ESTIMATES,
        "not_counted": NOT_COUNTED,
    }


def listed(prices: Prices) -> dict[str, Any]:
    """Each price with its unit and where it was read."""
    return {name: {"usd": p.usd, "per": p.per, "source": p.source} for name, p in prices.by_name.items()}


def _rounded(usd: Decimal) -> float:
    return float(round(usd, 4))
