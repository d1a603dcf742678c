"""The schedule → dead letters that are due go back to where they failed → one line a place, and how many are left."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, partial
from itertools import chain
from typing import Any

from nilometer.aws.clients import client
from nilometer.aws.dead_letters import DeadLetterQueue, invoke, places
from nilometer.aws.s3 import Objects
from nilometer.flows.recovery.dead_letters import StreamBatches, redrive_batches, redrive_due
from nilometer.lambdas import handling, logger, metric, variables

_RESERVE_SECONDS = 20.0  # one letter, or one batch that a function takes


@handling
def handler(_event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry: what failed while something was away is tried again."""
    queues, objects, functions = _dependencies()
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
    return _redrive(queues, StreamBatches("streams", objects, partial(invoke, functions)), until)


def _redrive(queues: list[DeadLetterQueue], streams: StreamBatches, until: float) -> dict[str, Any]:
    """Queues first: of streams there may be more than time for."""
    left = sent = 0
    now = datetime.now(UTC)

    def out_of_time() -> bool:
        return time.monotonic() >= until

    batches = redrive_batches(streams, now=now, out_of_time=out_of_time)
    for report in chain(redrive_due(queues, now=now, out_of_time=out_of_time), batches):
        left, sent = left + report.left, sent + len(report.sent)
        if report.found or report.failed:
            log = logger.warning if report.failed else logger.info
            log("redrive.queue", extra=asdict(report))
    metric("redrive", "DeadLettersFound", left)
    return {"sent": sent, "left": left}


@cache
def _dependencies() -> tuple[list[DeadLetterQueue], Objects, Any]:
    dead_letters, bucket = variables("DEAD_LETTERS", "LAKE_BUCKET")
    queues = [
        DeadLetterQueue(client("sqs"), name=name, url=url, source_url=source)
        for name, url, source in places(dead_letters)
    ]
    return queues, Objects(client("s3"), bucket=bucket), client("lambda")
