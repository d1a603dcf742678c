"""The on-failure destination S3 of a stream mapping: what was given up, with the records themselves.

Source: Lambda Developer Guide, "Retain discarded records for a DynamoDB event source in Lambda".
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from nilometer.local.plane.deployed import StreamMapping
from nilometer.local.sources.batches import event
from nilometer.local.sources.changes import StreamChange
from nilometer.local.workers.runtime import InvocationResult

RETRIES_EXHAUSTED = "RetryAttemptsExhausted"
AGE_EXCEEDED = "RecordAgeExceeded"


def object_key(mapping: StreamMapping, shard: str, now: datetime) -> str:
    """`aws/lambda/<mapping>/<shard>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<random>`."""
    return f"aws/lambda/{mapping.uuid}/{shard}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"


def invocation_record(
    mapping: StreamMapping,
    *,
    shard: str,
    records: Sequence[StreamChange],
    answer: InvocationResult | None,
    invocations: int,
    condition: str,
    now: datetime,
) -> bytes:
    """JSON. `payload` is the whole event as a string; without an answer the function was not invoked."""
    record = {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": mapping.function_arn,
            "condition": condition,
            "approximateInvokeCount": invocations,
        },
        "responseContext": _response_context(answer),
        "version": "1.0",
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "DDBStreamBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": records[0].number,
            "endSequenceNumber": records[-1].number,
            "approximateArrivalOfFirstRecord": _arrival(records[0]),
            "approximateArrivalOfLastRecord": _arrival(records[-1]),
            "batchSize": len(records),
            "streamArn": mapping.stream_arn,
        },
        "payload": event([change.content for change in records]).decode(),
    }
    return json.dumps({name: value for name, value in record.items() if value is not None}).encode()


def _response_context(answer: InvocationResult | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    context: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
    return context | ({"functionError": "Unhandled"} if answer.error else {})


def _arrival(change: StreamChange) -> str:
    arrived = datetime.fromtimestamp(change.written, UTC)
    return arrived.isoformat(timespec="seconds").replace("+00:00", "Z")
