"""What Lambda calls: a module a function. Here is what they share: the environment, the logger, metrics, the partial
batch response."""

from __future__ import annotations

import gc
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from aws_lambda_powertools import Logger

from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.errors import Misconfigured

# What a cold start imports stays; to look through it time and again is a sixth of its CPU (benchmarks/cold_start.py).
_STARTS_COLD = "AWS_LAMBDA_FUNCTION_NAME" in os.environ
if _STARTS_COLD:
    gc.disable()
_COLLECTS_AFTER = 10_000  # new containers: the JSON of a batch has more than that, and no cycles


def _as_ascii(line: dict[str, Any]) -> str:
    """An id from outside is shown by whatever reads the log, and obeyed by nothing: not only quotes are escaped, but
    also what turns the direction of a line or commands a terminal."""
    return json.dumps(line, default=str, separators=(",", ":")).replace("\x7f", "\\u007f")


# Metrics are lines too: they are written whatever POWERTOOLS_LOG_LEVEL says of the other lines.
logger = Logger(level="INFO", json_serializer=_as_ascii)
_VERSION = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
_RESERVE_SECONDS = 30.0  # to answer before Lambda kills: a request under way may be retried for 20
_NAMESPACE = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "nilometer")
_LOGS_EVERY_RECORD = os.environ.get("POWERTOOLS_LOG_LEVEL", "INFO") == "INFO"
_QUIET = frozenset({Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.IGNORED})

METRICS = frozenset(
    {
        Outcome.ACCEPTED,
        Outcome.REJECTED,
        Outcome.FAILED,
        "invalid_signature",
        "invalid_json",
        "stopped",
        "reconciled",
        "without_key",
        "DeadLettersFound",
        "DriftFound",
        "NotCompared",
        "MeterErrorReports",
        "MeterEventsStuck",
        "RefetchUnsettled",
    }
)
"""What an alarm or the dashboard reads. CloudWatch bills every metric; the other counts are fields of the same line."""

ATTENTION = frozenset({Outcome.REJECTED, "DriftFound", "NotCompared", "MeterErrorReports", "MeterEventsStuck"})
"""What waits for a person. Their sum is the metric `Attention` of the stack, one alarm for all flows."""

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def variables(*names: str) -> tuple[str, ...]:
    """Of the function's environment, in order. `Misconfigured` names all that are not set, or empty."""
    if missing := [name for name in names if not os.environ.get(name)]:
        raise Misconfigured(f"set {', '.join(missing)} in the function's environment")
    return tuple(os.environ[name] for name in names)


def optional(name: str) -> str | None:
    """The value of a variable that need not be set; None when it is not, or empty."""
    return os.environ.get(name) or None


def handling(handler: Handler) -> Handler:
    """Every line of a call carries its request id, as Lambda's own lines about the call do.

    Everything is imported by then.
    """
    if _STARTS_COLD:
        collect_rarely()

    @wraps(handler)
    def called(event: dict[str, Any], context: Any) -> dict[str, Any]:
        if request_id := getattr(context, "aws_request_id", None):
            logger.append_keys(request_id=request_id)
        return handler(event, context)

    return called


def collect_rarely() -> None:
    """The garbage collector, which may be off, never looks again at what is imported, and seldom at what a batch makes:
    with Python 3.11's own 700 containers (3.13: 2,000) it takes a seventh of the CPU of `billing`."""
    gc.freeze()
    gc.set_threshold(_COLLECTS_AFTER)
    gc.enable()


def messages(event: dict[str, Any]) -> list[Message]:
    """The records of an SQS batch."""
    return [
        Message(record["messageId"], record["body"], _sent_at(record), _receives(record)) for record in event["Records"]
    ]


def commit_deadline(context: Any) -> float:
    """On the monotonic clock: until when commits of the lake are tried."""
    remaining: float = context.get_remaining_time_in_millis() / 1000
    return time.monotonic() + max(remaining - _RESERVE_SECONDS, 0.0)


def batch_response(flow: str, results: Sequence[Result]) -> dict[str, Any]:
    """One line a record, one count an outcome; what failed or waits in its queue is delivered again.

    With `POWERTOOLS_LOG_LEVEL=WARNING` what went well has no line of its own.
    """
    for result in results:
        if result.outcome in _QUIET and not _LOGS_EVERY_RECORD:
            continue
        log = logger.warning if result.outcome in {Outcome.FAILED, Outcome.REJECTED} else logger.info
        log(f"{flow}.{result.outcome}", extra={"message_id": result.message_id, **_without_addresses(result.fields)})
    count(flow, (result.outcome for result in results))
    again = [result.message_id for result in results if result.outcome is Outcome.FAILED or result.again]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}


def count(flow: str, outcomes: Iterable[str], message: str = "outcomes", **fields: str) -> None:
    """Outcomes as CloudWatch embedded metrics: one line a batch, with `fields`, and no API call.

    Source: the CloudWatch embedded metric format specification. Powertools' Metrics flushes per
    decorated handler and imports its validators, which a webhook's cold start need not pay for.
    """
    counts = Counter(outcomes)
    if counts:
        _embed(f"{flow}.{message}", flow, counts, **fields)


def metric(flow: str, name: str, value: int) -> None:
    """One number for an alarm, also when it is zero."""
    _embed(f"{flow}.metric", flow, {name: value})


def _without_addresses(fields: Mapping[str, str | int]) -> Mapping[str, str | int]:
    """An id with an `@`, which may be an address, is logged as the hash that the lake's audit has."""
    if not any("@" in value for value in fields.values() if isinstance(value, str)):
        return fields
    from nilometer.domain.lake.redaction import id_text  # noqa: PLC0415  # its patterns cost every start, and few ids are such

    return {
        name: " ".join(map(id_text, value.split(" "))) if isinstance(value, str) else value
        for name, value in fields.items()
    }


def _sent_at(record: Mapping[str, Any]) -> datetime | None:
    """Milliseconds since 1970, as text."""
    sent = record.get("attributes", {}).get("SentTimestamp")
    return datetime.fromtimestamp(int(sent) / 1000, UTC) if sent else None


def _receives(record: Mapping[str, Any]) -> int:
    return int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))


def _embed(message: str, flow: str, values: Mapping[str, int], **fields: str) -> None:
    """What went wrong is counted by version too, so that a canary is judged by its own failures."""
    wrong = values.keys() & {Outcome.FAILED, Outcome.REJECTED}
    waiting = sum(values[name] for name in values.keys() & ATTENTION)
    directives = [
        *_directive(values.keys() & METRICS, ["flow"]),
        *_directive(wrong, ["flow", "version"]),
        *_directive({"Attention"} if waiting else (), []),
    ]
    extra: dict[str, Any] = {**fields, "flow": flow, "version": _VERSION, **values}
    if directives:
        extra["_aws"] = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": directives}
    logger.info(message, extra=extra | ({"Attention": waiting} if waiting else {}))


def _directive(names: Iterable[str], dimensions: list[str]) -> list[dict[str, Any]]:
    metrics = [{"Name": str(name), "Unit": "Count"} for name in sorted(names)]
    return [{"Namespace": _NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics}] if metrics else []
