"""The on-failure destination S3 of a stream mapping: what was given up, with the records themselves.

Source: Lambda Developer Guide, "Retain discarded records for a DynamoDB event source in Lambda".
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nilometer.local.plane.deployed import StreamMapping
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
    records: Sequence[Mapping[str, Any]],
    answer: InvocationResult | None,
    invocations: int,
    condition: str,
    now: datetime,
) -> bytes:
    """JSON. `payload` is the whole event as a string; without an answer the function was not invoked."""
    changes = [record["dynamodb"] for record in records]
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
            "startSequenceNumber": changes[0]["SequenceNumber"],
            "endSequenceNumber": changes[-1]["SequenceNumber"],
            "approximateArrivalOfFirstRecord": _arrival(changes[0]),
            "approximateArrivalOfLastRecord": _arrival(changes[-1]),
            "batchSize": len(records),
            "streamArn": mapping.stream_arn,
        },
        "payload": json.dumps({"Records": records}),
    }
    return json.dumps({name: value for name, value in record.items() if value is not None}).encode()


def _response_context(answer: InvocationResult | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    context: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
    return context | ({"functionError": "Unhandled"} if answer.error else {})


def _arrival(change: Mapping[str, Any]) -> str:
    arrived = datetime.fromtimestamp(change["ApproximateCreationDateTime"], UTC)
    return arrived.isoformat(timespec="seconds").replace("+00:00", "Z")
