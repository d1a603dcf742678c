"""What repeats in template.yaml, as tables: functions, queues, schedules, alarms and the dashboard.

`python docs/generate.py` writes the YAML of each row between its markers in template.yaml (`docs/template/blocks.py`).

* A further alarm is a row of `alarms()`, a paragraph in docs/runbook.md, and a fault in
  tests/template/alarms/test_faults.py.
* A further queue is a row of `QUEUES`, and the two markers in template.yaml where it belongs. Its rule (which events
  it takes) and the rights of its function are written by hand; its alarms, its lines of the dashboard and its place in
  the lists of dead-letter queues follow.
* A further function is a row of `FUNCTIONS`, the markers `role NAME`, its rights, and the function itself by hand.
* A further schedule is a row of `SCHEDULES`, its markers, and the right of ScheduleRole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FunctionRow:
    """`timeout` in seconds, as the function's own. `judged_by`: our metric beside Errors that takes a canary back.

    Of a `scheduled` function nothing but its errors says that it fails; the others have a queue, a stream or the API.
    One that only some stacks have is made under `condition`; its alarms under `<condition>Detail`, and it has no line
    of the dashboard.
    """

    name: str
    timeout: int
    canary: bool = True
    judged_by: str = ""
    stream: bool = False
    scheduled: bool = False
    condition: str = ""
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueRow:
    """An SQS queue with its dead letters and its mapping.

    `window` in seconds; of three values the first is a parameter's name, then its largest value, then that on one
    machine. `read` is the condition under which Lambda polls it.
    `rules` send to it, each with the condition that makes it. `note` is a comment, with the property that it
    stands above. `condition` makes mapping and policy, where only some stacks have the function.
    """

    name: str
    function: str
    batch: int
    concurrency: int
    window: int | tuple[str, int, int] = 1
    read: str = "OnAws"
    rules: tuple[tuple[str, str], ...] = ()
    condition: str = ""
    note: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A call of a function; what fails is tried again up to `retries` times within `seconds`."""

    name: str
    expression: str
    function: str
    retries: int
    seconds: int
    input: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """Goes off when `metric` passes `threshold` in `points` of `of` periods of `period` seconds.

    `paragraph` is the anchor of its heading in docs/runbook.md.
    """

    name: str
    description: str
    paragraph: str
    namespace: str
    metric: str
    dimension: tuple[str, str]
    statistic: str = "Sum"
    threshold: int = 0
    points: int | str = 1
    of: int | str = 1
    period: int = 300
    condition: str = "HasAlarms"
    comparison: str = "GreaterThanThreshold"
    missing: str = "notBreaching"
    note: str = ""


@dataclass(frozen=True, slots=True)
class RatioRow:
    """Goes off when `expression` over several metrics is true in `points` of `of` periods: a count says little alone.

    `metrics` are an id, a namespace, a name and a dimension each; a sum of each period.
    """

    name: str
    description: str
    paragraph: str
    expression: str
    metrics: tuple[tuple[str, str, str, tuple[str, str]], ...]
    points: int
    of: int
    period: int = 300
    condition: str = "HasRatios"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of the dashboard, half as wide as it. `lines` are labels with their metrics."""

    title: str
    statistic: str
    lines: tuple[tuple[str, tuple[str, ...]], ...]


FUNCTIONS = (
    FunctionRow("Webhook", 10, judged_by="failed"),
    FunctionRow("Api", 15, judged_by="failed"),
    FunctionRow("Console", 30, canary=False, condition="HasConsole"),
    FunctionRow("Billing", 30, queues=("Billing",)),
    FunctionRow("Usage", 30, scheduled=True, queues=("Usage",)),
    FunctionRow("Operations", 30, queues=("Operations",)),
    FunctionRow("Hooks", 30, canary=False, condition="HasWebhooks", queues=("Hooks",)),
    FunctionRow("Changes", 30, judged_by="rejected", stream=True),
    FunctionRow("Limits", 30, stream=True, scheduled=True),
    FunctionRow("Lake", 120, queues=("LakeStripeEvents", "LakeUsage", "LakeAudit")),
    FunctionRow("Datasets", 120, queues=("Datasets",)),
    FunctionRow("Maintenance", 600, canary=False, scheduled=True),
    FunctionRow("Redrive", 120, canary=False, scheduled=True),
    FunctionRow("Reconcile", 900, canary=False, scheduled=True),
)

WINDOW = "MaximumBatchingWindowInSeconds"
_LARGE = (
    WINDOW,
    "Large batches make few commits; on one machine an answer should not take 20 seconds.",
)
_LAKE_WINDOW = ("LakeWindow", 300, 1)
_ALONE = ("BatchSize", "A batch may be large, so each has all of the function's time.")
_HOOKS = (("HooksRule", ""), ("MailRule", "HasEmail"))
_FEW = ("BatchSize", "A receiver may need seconds, so a batch is small.")
QUEUES = (
    QueueRow("Billing", "Billing", 200, 10, rules=(("BillingRule", ""), ("StripePartnerRule", "HasPartner"))),
    QueueRow("Usage", "Usage", 1000, 5, rules=(("UsageRule", ""),)),
    QueueRow("Operations", "Operations", 100, 5, rules=(("OperationsRule", ""), ("NoticesRule", ""))),
    QueueRow("Hooks", "Hooks", 10, 5, 0, "SendsWebhooks", _HOOKS, "HasWebhooks", note=_FEW),
    QueueRow("LakeStripeEvents", "Lake", 2000, 2, _LAKE_WINDOW, "HasLakeQueues", note=_LARGE),
    QueueRow("LakeUsage", "Lake", 2000, 2, _LAKE_WINDOW, "HasLakeQueues", note=_LARGE),
    QueueRow("LakeAudit", "Lake", 2000, 2, _LAKE_WINDOW, rules=(("LakeAuditRule", ""),), note=_LARGE),
    QueueRow("Datasets", "Datasets", 1, 2, 0, "HasDatasets", (("DatasetsRule", ""),), note=_ALONE),
)
DEAD_LETTERS = (*(f"{queue.name}DeadLetters" for queue in QUEUES), "ScheduleDeadLetters")

_HOURLY = "Every hour, because an open day of thousands of files is slow to read and to append to."
_UPKEEP = '!If [UpkeepDaily, "cron(20 3 * * ? *)", "cron(20 * * * ? *)"]'
SCHEDULES = (
    ScheduleRow("Refetch", "rate(1 minute)", "Reconcile", 1, 60, '{"do": "refetch"}'),
    ScheduleRow("Reconcile", "cron(40 2-8 * * ? *)", "Reconcile", 2, 3600, '{"do": "reconcile"}'),
    ScheduleRow("Metering", "cron(25 * * * ? *)", "Reconcile", 1, 1800, '{"do": "meter"}'),
    ScheduleRow("Maintenance", _UPKEEP, "Maintenance", 2, 3600, note=_HOURLY),
    ScheduleRow("Redrive", "rate(15 minutes)", "Redrive", 1, 600, note="Retries dead letters; the cause may be over."),
    ScheduleRow("Limits", "rate(5 minutes)", "Limits", 2, 300, note="Releases reservations that nobody settled."),
    ScheduleRow("Usage", "cron(10 4 * * ? *)", "Usage", 2, 3600, note="Rejects usage that waited too long."),
)


_DETAIL = {"condition": "HasDetail"}
"""What another alarm says too, some minutes later: the age of a queue or stream, a dead letter, the API's answers."""


def _detail(row: FunctionRow) -> dict[str, str]:
    return {"condition": f"{row.condition or 'Has'}Detail"}


def alarms() -> Iterator[AlarmRow]:
    """Every alarm on one metric, in the order of the template."""
    visible, oldest = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
    for name in DEAD_LETTERS:
        when = {"condition": "HasWebhooksDetail"} if name == "HooksDeadLetters" else _DETAIL
        yield _of_queue(name, f"{name}Alarm", f"A message is in {name}", "dead-letters", visible, **when)
    yield from _TOGETHER
    for row in QUEUES:
        name, waits = f"{row.name}Queue", "its oldest message waits for 15 minutes"
        when = {"OnAws": "HasAlarms"}.get(row.read, f"{row.read}Alarms")
        kept: dict[str, Any] = {"threshold": 900, "points": 3, "of": 3, "condition": when}
        yield _of_queue(name, f"{name}AgeAlarm", f"{name} is not emptied: {waits}", "queue-age", oldest, **kept)
    for one in FUNCTIONS:
        when = {"condition": "HasAlarms"} if one.scheduled else _detail(one)
        yield _of_function(one, "Errors", "ends with an error", "function-errors", points=2, **when)
    for one in FUNCTIONS:
        yield _of_function(
            one, "Throttles", "is throttled by its concurrency limit", "throttles", points=3, **_detail(one)
        )
    for one in FUNCTIONS:
        said, most = f"needs more than 80 % of its {one.timeout} s", 800 * one.timeout
        yield _of_function(one, "Duration", said, "duration", points=2, statistic="p99", threshold=most, **_detail(one))
    behind: dict[str, Any] = {"statistic": "Maximum", "threshold": 600000, "points": 2, "of": 2}
    for one in (one for one in FUNCTIONS if one.stream):
        yield _of_function(one, "IteratorAge", "reads its stream ten minutes behind", "iterator-age", **behind)
    yield _given_up("Records", "RecordsTable", "ChangesFunction")
    yield _given_up("Events", "EventsTable", "ChangesFunction")
    yield _given_up("Limits", "RecordsTable", "LimitsFunction")
    yield from _OF_STRIPE
    yield from _REJECTS
    yield from _OF_RECONCILE
    yield from _OF_LAKE


def _of_queue(queue: str, name: str, said: str, paragraph: str, metric: str, **other: Any) -> AlarmRow:
    dimension = ("QueueName", f"!GetAtt {queue}.QueueName")
    return AlarmRow(name, said, paragraph, "AWS/SQS", metric, dimension, "Maximum", **other)


def _of_function(row: FunctionRow, metric: str, said: str, paragraph: str, *, of: int = 3, **other: Any) -> AlarmRow:
    name, dimension = f"{row.name}{metric}Alarm", ("FunctionName", f"!Ref {row.name}Function")
    return AlarmRow(name, f"{row.name}Function {said}", paragraph, "AWS/Lambda", metric, dimension, of=of, **other)


def _given_up(mapping: str, table: str, function: str) -> AlarmRow:
    said = f"Records of {table} failed in {function} and are in the bucket below aws/lambda/"
    dimension = ("EventSourceMappingUUID", f"!Ref {mapping}StreamMapping")
    metric = "OnFailureDestinationDeliveredEventCount"
    name = f"{mapping}StreamFailuresAlarm"
    return AlarmRow(name, said, "stream-failures", "AWS/Lambda", metric, dimension, **_DETAIL)


def _own(name: str, said: str, paragraph: str, flow: str, metric: str, **other: Any) -> AlarmRow:
    """On a metric that the functions count themselves, under the stack's name."""
    return AlarmRow(f"{name}Alarm", said, paragraph, "!Ref AWS::StackName", metric, ("flow", flow), **other)


_OF_STRIPE = (
    _own(
        "WebhookFailed",
        "Webhooks were answered with 500; Stripe delivers them again",
        "webhook-failed",
        "webhook",
        "failed",
        points=2,
        of=2,
        condition="HasDetail",
    ),
    AlarmRow(
        "StripeSilenceAlarm",
        "No event from Stripe for hours, by webhook or partner bus",
        "silence",
        "AWS/SQS",
        "NumberOfMessagesSent",
        ("QueueName", "!GetAtt BillingQueue.QueueName"),
        threshold=1,
        points="!Ref SilenceHours",
        of="!Ref SilenceHours",
        period=3600,
        condition="HasSilence",
        comparison="LessThanThreshold",
        missing="breaching",
        note="Webhook and partner bus send to this queue.",
    ),
)
_ONE_BY_ONE = {"condition": "HasDetail"}
_TOGETHER = (
    _own(
        "DeadLetters",
        "The stack has dead letters, or failed batches of a stream",
        "dead-letters",
        "redrive",
        "DeadLettersFound",
        condition="IsLean",
        period=900,
    ),
    AlarmRow(
        "AttentionAlarm",
        "Something waits for a person: rejects, drift, or usage that Stripe cannot count",
        "attention",
        "!Ref AWS::StackName",
        "Attention",
        ("", ""),
        condition="IsLean",
    ),
)
"""In lean monitoring each of them stands for several alarms of the full one."""
_GONE = "rejected events"
_REJECTS = (
    _own("BillingRejects", f"BillingFunction {_GONE}", "rejects", "billing", "rejected", **_ONE_BY_ONE),
    _own("UsageRejects", f"UsageFunction {_GONE}", "rejects", "usage", "rejected", **_ONE_BY_ONE),
    _own("OperationsRejects", f"OperationsFunction {_GONE}", "rejects", "operations", "rejected", **_ONE_BY_ONE),
    _own(
        "ChangesRejects",
        "ChangesFunction could not relay changes and kept them",
        "rejects",
        "changes",
        "rejected",
        **_ONE_BY_ONE,
    ),
    _own("LimitsRejects", f"LimitsFunction {_GONE}", "rejects", "limits", "rejected", **_ONE_BY_ONE),
    _own("LakeRejects", f"LakeFunction {_GONE}", "rejects", "lake", "rejected", **_ONE_BY_ONE),
    _own(
        "DatasetsRejects",
        "DatasetsFunction rejected batches",
        "dataset-rejects",
        "datasets",
        "rejected",
        **_ONE_BY_ONE,
    ),
)
_DOUBTS = "Objects in doubt could not be settled with Stripe for an hour"
_NO_UPKEEP = "The maintenance of a lake table was stopped (if hourly, three times in a row)"
_NOT_COMPARED = "Stripe objects have not been compared for 48 hours"
_DRIFT = "The nightly reconcile found objects that differ from Stripe's"
_UNCOUNTED = "Stripe could not count meter events that it took"
_OF_RECONCILE = (
    _own("Drift", _DRIFT, "drift", "reconcile", "DriftFound", **_ONE_BY_ONE),
    _own("NotCompared", _NOT_COMPARED, "not-compared", "reconcile", "NotCompared", **_ONE_BY_ONE),
    _own(
        "MeterEvents",
        "Usage cannot be reported to Stripe's meters",
        "stripes-meters",
        "reconcile",
        "MeterEventsStuck",
        **_ONE_BY_ONE,
    ),
    _own("MeterErrors", _UNCOUNTED, "stripes-meters", "billing", "MeterErrorReports", **_ONE_BY_ONE),
    _own("Refetch", _DOUBTS, "refetch", "reconcile", "RefetchUnsettled", points=12, of=12),
)
_RUNS = "!If [UpkeepDaily, 1, 3]"
_OF_LAKE = (
    _own("MaintenanceStopped", _NO_UPKEEP, "upkeep", "maintenance", "stopped", points=_RUNS, of=_RUNS, period=3600),
)


def ratios() -> Iterator[RatioRow]:
    """Every alarm on several metrics together, but for those of canaries."""
    ours, api = "!Ref AWS::StackName", ("ApiId", "!Ref Api")
    webhook, reconcile = ("flow", "webhook"), ("flow", "reconcile")
    yield RatioRow(
        "WebhookSignaturesAlarm",
        "Most webhooks have a signature that no secret of ours made",
        "signatures",
        "IF(forged >= 3 AND forged > FILL(taken, 0), 1, 0)",
        (("forged", ours, "invalid_signature", webhook), ("taken", ours, "accepted", webhook)),
        points=2,
        of=3,
        period=900,
    )
    yield RatioRow(
        "ApiFailuresAlarm",
        "The API answers more than one request of twenty with 500 or later",
        "api-answers",
        "IF(failures > 0.05 * asked, 1, 0)",
        (("failures", "AWS/ApiGateway", "5xx", api), ("asked", "AWS/ApiGateway", "Count", api)),
        points=2,
        of=3,
    )
    yield RatioRow(
        "ApiRefusalsAlarm",
        "The API refuses most of many requests",
        "api-answers",
        "IF(refusals > 100 AND refusals > 0.5 * asked, 1, 0)",
        (("refusals", "AWS/ApiGateway", "4xx", api), ("asked", "AWS/ApiGateway", "Count", api)),
        points=3,
        of=3,
        condition="HasDetailedRatios",
    )
    # Hours in which nothing ran at all, before the stack was there, are not counted.
    running = ("running", "AWS/Lambda", "Invocations", ("FunctionName", "!Ref LimitsFunction"))
    yield RatioRow(
        "ReconcileMissingAlarm",
        "The nightly reconcile with Stripe has not finished for 26 hours",
        "reconcile-missing",
        "IF(running > 0 AND FILL(done, 0) + FILL(keyless, 0) == 0, 1, 0)",
        (running, ("done", ours, "reconciled", reconcile), ("keyless", ours, "without_key", reconcile)),
        points=26,
        of=26,
        period=3600,
    )


def _flow(flow: str, *metrics: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((f"{flow} {metric}", ("${AWS::StackName}", metric, "flow", flow)) for metric in metrics)


def _visible(*queues: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    metric = "ApproximateNumberOfMessagesVisible"
    return tuple((name, ("AWS/SQS", metric, "QueueName", f"${{{name}.QueueName}}")) for name in queues)


def _each(metric: str, *functions: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, ("AWS/Lambda", metric, "FunctionName", f"${{{name}Function}}")) for name in functions)


def _written(*tables: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    metric = "ConsumedWriteCapacityUnits"
    return tuple((name, ("AWS/DynamoDB", metric, "TableName", f"${{{name}}}")) for name in tables)


_NAMES = tuple(row.name for row in FUNCTIONS if not row.condition)
_OF_SOME_STACKS = frozenset(f"{row.name}DeadLetters" for row in QUEUES if row.condition)
_CONSUMERS = ("billing", "usage", "operations", "lake", "datasets")
_OUTCOMES = ("accepted", "rejected", "failed")
_ANSWERS = ("accepted", "invalid_signature", "invalid_json", "failed")
# Fifty metrics are free; the console of Lambda has the durations, that of DynamoDB the units.
DASHBOARD = (
    Chart("Webhooks by outcome", "Sum", _flow("webhook", *_ANSWERS)),
    Chart("Events by outcome", "Sum", tuple(line for flow in _CONSUMERS for line in _flow(flow, *_OUTCOMES))),
    Chart("Waiting in queues", "Maximum", _visible(*(f"{row.name}Queue" for row in QUEUES if not row.condition))),
    Chart("Dead letters", "Maximum", _visible(*(name for name in DEAD_LETTERS if name not in _OF_SOME_STACKS))),
    Chart("Errors of functions", "Sum", _each("Errors", *_NAMES)),
    Chart("Streams: age of what is read", "Maximum", _each("IteratorAge", *(r.name for r in FUNCTIONS if r.stream))),
    Chart("Written to the tables, write units", "Sum", _written("RecordsTable", "EventsTable")),
)
