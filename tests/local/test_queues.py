"""What Lambda does with an SQS event source, kept by the runner."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

PARTIAL = {"BatchSize": 100, "MaximumBatchingWindowInSeconds": 1, "FunctionResponseTypes": ["ReportBatchItemFailures"]}
COLLECT = """
    def handler(event, context):
        say([record["body"] for record in event["Records"]])
"""


def bodies(stack: Any) -> list[str]:
    return [body for batch in stack.said() for body in batch]


def test_a_message_reaches_its_function_in_lambdas_shape(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Using Lambda with Amazon SQS", example message event of a standard queue."""
    stack = deploy("def handler(event, context): say(event)", queue={"BatchSize": 1})
    runner = stack.runner()

    stack.client("sqs").send_message(
        QueueUrl=stack.output("QueueUrl"),
        MessageBody="hello",
        MessageAttributes={"colour": {"DataType": "String", "StringValue": "blue"}},
    )
    stack.await_idle(runner)

    (record,) = stack.said()[0]["Records"]
    assert record["body"] == "hello"
    assert record["eventSource"] == "aws:sqs"
    assert record["awsRegion"] == "us-east-1"
    assert record["eventSourceARN"].startswith("arn:aws:sqs:us-east-1:")
    assert record["md5OfBody"] == "5d41402abc4b2a76b9719d911017c592"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert {"SenderId", "SentTimestamp", "ApproximateFirstReceiveTimestamp"} <= record["attributes"].keys()
    assert record["messageAttributes"]["colour"] == {
        "dataType": "String",
        "stringValue": "blue",
        "stringListValues": [],
        "binaryListValues": [],
    }
    assert record["messageId"] and record["receiptHandle"]
