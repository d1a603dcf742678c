"""A stack as it is deployed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from nilometer.local.plane.deployed import read


def test_everything_that_the_template_says_is_read(deploy: Callable[..., Any]) -> None:
    """Of this stack alone, also what is disabled."""
    pattern = {"body": {"kind": ["x"]}}
    other = deploy("def handler(event, context): pass", queue={}, routes=("$default",))
    stack = deploy(
        "def handler(event, context): pass",
        timeout=42,
        environment={"STAGE": "local"},
        queue={
            "BatchSize": 200,
            "MaximumBatchingWindowInSeconds": 3,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": 7},
            "FilterCriteria": {"Filters": [{"Pattern": json.dumps(pattern)}]},
        },
        redrive=4,
        stream={
            "BatchSize": 50,
            "BisectBatchOnFunctionError": True,
            "MaximumRetryAttempts": 0,
            "MaximumRecordAgeInSeconds": -1,
        },
        routes=("POST /a", "$default"),
        schedule="rate(5 minutes)",
    )

    found = read(stack.client, stack_name=stack.name)

    (function,) = found.functions.values()
    assert function.name == stack.output("FunctionName") != other.output("FunctionName")
    assert (function.handler, function.timeout, function.memory) == ("subject.handler", 42, 256)
    assert function.environment == {"BUCKET": stack.name, "STAGE": "local"}
    (queue,) = found.queue_mappings
    assert queue.queue.url == stack.output("QueueUrl")
    assert queue.queue.visibility_timeout == 120
    assert (queue.batch_size, queue.window, queue.partial, queue.concurrency) == (200, 3, True, 7)
    assert queue.filters == (pattern,)
    (stream,) = found.stream_mappings
    assert stream.table == stack.output("TableName")
    assert (stream.batch_size, stream.window, stream.partial, stream.bisect) == (50, 0, False, True)
    assert (stream.retries, stream.maximum_age) == (0, None)
    assert (stream.starting_position, stream.failure_bucket) == ("TRIM_HORIZON", stack.name)
    assert sorted(route.key for route in found.routes) == ["$default", "POST /a"]
    (schedule,) = found.schedules
    assert (schedule.expression, schedule.timezone, schedule.input) == ("rate(5 minutes)", "UTC", '{"due": true}')
    assert found.dead_letters == {stack.output("DeadUrl").rsplit("/", 1)[1]}
