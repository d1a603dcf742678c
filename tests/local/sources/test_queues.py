"""What Lambda does with an SQS event source, kept by the runner."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from nilometer.local.workers.chaos import Chaos

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
    assert record["messageId"]
    assert record["receiptHandle"]


def test_a_batch_fills_up_within_its_window(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Using Lambda with Amazon SQS", batching behavior: size or window, more than 10."""
    stack = deploy(COLLECT, queue={"BatchSize": 25, "MaximumBatchingWindowInSeconds": 4})
    stack.send(*[str(n) for n in range(60)])

    stack.await_idle(stack.runner())

    assert sorted(bodies(stack)) == sorted(str(n) for n in range(60))
    assert sorted(len(batch) for batch in stack.said()) == [10, 25, 25]


def test_the_first_message_of_an_idle_queue_goes_at_once(deploy: Callable[..., Any]) -> None:
    """On one machine somebody is looking; what comes within the window after it gathers."""
    stack = deploy(COLLECT, queue={"BatchSize": 100, "MaximumBatchingWindowInSeconds": 8})
    runner = stack.runner()
    runner.invoke("Function", b'{"Records": []}')  # its worker has come up
    began = time.monotonic()

    stack.send("alone")
    stack.until(lambda: bodies(stack) == ["alone"], 7)
    stack.send("b")
    stack.send("c")
    stack.await_idle(runner)

    assert stack.said() == [[], ["alone"], ["b", "c"]]
    assert time.monotonic() - began >= 8


def test_a_batch_stays_below_six_megabytes(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Using Lambda with Amazon SQS", batching behavior: the 6 MB payload limit."""
    handler = """
        def handler(event, context):
            say([len(json.dumps(event)), len(event["Records"])])
    """
    stack = deploy(handler, queue={"BatchSize": 1000, "MaximumBatchingWindowInSeconds": 3})
    for _ in range(8):
        stack.send("x" * 1_000_000)

    stack.await_idle(stack.runner())

    sizes = [size for size, _ in stack.said()]
    assert sum(count for _, count in stack.said()) == 8
    assert max(sizes) <= 6 * 1024 * 1024
    assert max(count for _, count in stack.said()) == 6


def test_reported_messages_come_again_and_the_others_do_not(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Handling errors for an SQS event source in Lambda", partial batch responses."""
    handler = """
        def handler(event, context):
            failed = [r["messageId"] for r in event["Records"]
                      if r["body"] == "bad" and r["attributes"]["ApproximateReceiveCount"] == "1"]
            say([[r["body"], r["attributes"]["ApproximateReceiveCount"]] for r in event["Records"]])
            return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}
    """
    stack = deploy(handler, queue=PARTIAL)
    stack.send("good", "bad", "fine")

    stack.await_idle(stack.runner())

    seen = [tuple(each) for batch in stack.said() for each in batch]
    assert sorted(seen) == [("bad", "1"), ("bad", "2"), ("fine", "1"), ("good", "1")]


@pytest.mark.parametrize("answer", ["raise ValueError", "return {'batchItemFailures': [{'itemIdentifier': 'x'}]}"])
def test_a_failed_batch_comes_again_and_ends_with_the_dead_letters(deploy: Callable[..., Any], answer: str) -> None:
    """Lambda Developer Guide, "Handling errors for an SQS event source in Lambda"; after maxReceiveCount the DLQ."""
    handler = f"def handler(event, context):\n    say(len(event['Records']))\n    {answer}"
    stack = deploy(handler, queue=PARTIAL, redrive=3)
    stack.send("a", "b")

    status = stack.await_idle(stack.runner())

    assert stack.said() == [2, 2, 2]
    assert list(status.dead_letters.values()) == [2]


def test_messages_that_no_filter_passes_are_deleted_unseen(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Control which events Lambda sends to your function", filtered messages of SQS."""
    pattern = json.dumps({"body": {"kind": ["wanted"]}})
    stack = deploy(COLLECT, queue={"BatchSize": 10, "FilterCriteria": {"Filters": [{"Pattern": pattern}]}})
    stack.send('{"kind": "wanted"}', '{"kind": "other"}', "plain")

    status = stack.await_idle(stack.runner())

    assert bodies(stack) == ['{"kind": "wanted"}']
    assert all((queue.visible, queue.in_flight) == (0, 0) for queue in status.queues.values())


def test_a_slow_function_runs_twice_at_once_and_no_more(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Configuring scaling behavior for SQS event source mappings": MaximumConcurrency."""
    handler = """
        def handler(event, context):
            say(["start", os.getpid()])
            end = time.monotonic() + 30
            while open(os.environ["SAID"]).read().count("start") < 2 and time.monotonic() < end: time.sleep(0.02)
            time.sleep(0.3)
            say(["end", os.getpid()])
    """
    stack = deploy(handler, timeout=60, queue={"BatchSize": 1, "ScalingConfig": {"MaximumConcurrency": 2}})
    stack.send(*[str(n) for n in range(8)])

    stack.await_idle(stack.runner())

    running = most = 0
    for event, _ in stack.said():
        running += 1 if event == "start" else -1
        most = max(most, running)
    assert most == 2
    assert len(stack.said()) == 16


def test_a_killed_worker_loses_no_message(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Handling errors for an SQS event source in Lambda": what failed is seen again."""
    handler = """
        def handler(event, context):
            for record in event["Records"]:
                if record["attributes"]["ApproximateReceiveCount"] == "1": os.kill(os.getpid(), 9)
            say([record["body"] for record in event["Records"]])
    """
    stack = deploy(handler, queue={"BatchSize": 5, "MaximumBatchingWindowInSeconds": 1})
    stack.send(*[str(n) for n in range(5)])

    status = stack.await_idle(stack.runner())

    assert sorted(bodies(stack)) == list("01234")
    assert sum(function.restarts for function in status.functions.values()) >= 1


def test_a_function_past_its_timeout_fails_the_batch(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Handling errors for an SQS event source in Lambda": a timeout is a failure."""
    handler = """
        def handler(event, context):
            (record,) = event["Records"]
            say(record["attributes"]["ApproximateReceiveCount"])
            if record["attributes"]["ApproximateReceiveCount"] == "1": time.sleep(60)
    """
    stack = deploy(handler, timeout=3, queue={"BatchSize": 1})
    stack.send("slow")

    stack.await_idle(stack.runner())

    assert stack.said() == ["1", "2"]


def test_a_stop_gives_back_what_it_holds(deploy: Callable[..., Any]) -> None:
    """The next runner has it at once, not after the visibility timeout of two minutes."""
    stack = deploy("def handler(event, context): say(1); time.sleep(60)", timeout=60, queue={"BatchSize": 1})
    stack.send("a", "b", "c")
    runner = stack.runner()
    stack.until(lambda: len(stack.said()) == 2)

    runner.stop()
    stack.handle("def handler(event, context): pass")

    status = stack.await_idle(stack.runner(data=stack.data / "next"))
    assert sum(status.dead_letters.values()) == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_chaos_repeats_and_reorders_and_loses_nothing(deploy: Callable[..., Any], seed: int) -> None:
    """Amazon SQS Developer Guide, "At-least-once delivery": who keeps a set sees every message."""
    stack = deploy(COLLECT, queue={"BatchSize": 10, "MaximumBatchingWindowInSeconds": 1}, redrive=5)
    sent = [str(n) for n in range(200)]
    stack.send(*sent)
    chaos = Chaos(seed, duplicate=0.3, delay=0.1, reorder=0.2, kill=0.2, drop_answer=0.2)

    status = stack.await_idle(stack.runner(chaos=chaos))

    seen = bodies(stack)
    assert set(seen) == set(sent)
    assert len(seen) > len(sent)
    assert list(status.dead_letters.values()) == [0]
