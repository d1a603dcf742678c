"""What Lambda does with a DynamoDB stream, kept by the runner."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from nilometer.local.workers.chaos import Chaos

BATCHES = {"BatchSize": 100, "MaximumBatchingWindowInSeconds": 1}
PARTIAL = {**BATCHES, "FunctionResponseTypes": ["ReportBatchItemFailures"]}
COLLECT = """
    def handler(event, context):
        say([record["dynamodb"]["Keys"]["pk"]["S"] for record in event["Records"]])
"""


def item(key: str, **attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"pk": {"S": key}, "sk": {"S": "X"}, **attributes}


def flat(batches: Iterable[Iterable[Any]]) -> list[Any]:
    return [each for batch in batches for each in batch]


def discarded(stack: Any) -> list[tuple[str, dict[str, Any]]]:
    """Keys and contents of the on-failure destination."""
    s3 = stack.client("s3")
    listed = s3.list_objects_v2(Bucket=stack.name, Prefix="aws/lambda/").get("Contents", [])
    return [(o["Key"], json.loads(s3.get_object(Bucket=stack.name, Key=o["Key"])["Body"].read())) for o in listed]


def test_a_change_reaches_its_function_in_lambdas_shape(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB", example event; binary values in base64."""
    stack = deploy("def handler(event, context): say(event)", stream=BATCHES)
    runner = stack.runner()
    stack.put(item("a", n={"N": "1.5"}, b={"B": b"\xff"}), item("a", n={"N": "2"}))

    stack.await_idle(runner)

    first, second = flat(event["Records"] for event in stack.said())
    assert (first["eventName"], second["eventName"]) == ("INSERT", "MODIFY")
    assert first["eventSource"] == "aws:dynamodb"
    assert first["awsRegion"] == "us-east-1"
    assert "/stream/" in first["eventSourceARN"]
    assert first["dynamodb"]["NewImage"] == item("a", n={"N": "1.5"}, b={"B": "/w=="})
    assert second["dynamodb"]["OldImage"] == first["dynamodb"]["NewImage"]
    assert second["dynamodb"]["Keys"] == {"pk": {"S": "a"}, "sk": {"S": "X"}}
    assert isinstance(first["dynamodb"]["ApproximateCreationDateTime"], int | float)
    assert first["dynamodb"]["SequenceNumber"] < second["dynamodb"]["SequenceNumber"]


def test_changes_of_a_key_come_in_order(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB": in order, through failures."""
    handler = """
        def handler(event, context):
            images = [r["dynamodb"]["NewImage"] for r in event["Records"]]
            seen = [[image["pk"]["S"], int(image["n"]["N"])] for image in images]
            if not os.path.exists(os.environ["SAID"] + str(len(seen))):
                open(os.environ["SAID"] + str(len(seen)), "w").close()
                raise ValueError("the first time with so many")
            say(seen)
    """
    stack = deploy(handler, stream={**BATCHES, "BatchSize": 7, "BisectBatchOnFunctionError": True})
    stack.put(*[item(key, n={"N": str(n)}) for n in range(20) for key in "ab"])

    stack.await_idle(stack.runner())

    for key in "ab":
        assert [n for k, n in flat(stack.said()) if k == key] == list(range(20))


def test_a_batch_is_full_or_its_window_over(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Polling and batching streams"."""
    stack = deploy(COLLECT, stream={**BATCHES, "BatchSize": 4})
    stack.put(*[item(str(n)) for n in range(10)])

    stack.await_idle(stack.runner())

    assert [len(batch) for batch in stack.said()] == [4, 4, 2]


def test_only_what_the_filter_passes_is_handed_over(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Using event filtering with a DynamoDB event source"."""
    pattern = {"eventName": ["INSERT"], "dynamodb": {"Keys": {"pk": {"S": [{"prefix": "x"}]}}}}
    stack = deploy(COLLECT, stream={**BATCHES, "FilterCriteria": {"Filters": [{"Pattern": json.dumps(pattern)}]}})
    stack.put(item("x1"), item("y1"), item("x1", n={"N": "2"}), item("x2"), item("y2"))

    status = stack.await_idle(stack.runner())

    assert flat(stack.said()) == ["x1", "x2"]
    assert list(status.streams.values()) == [0]


def test_a_reported_record_is_where_the_next_batch_begins(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Configuring partial batch response with DynamoDB and Lambda": the lowest one counts."""
    handler = """
        def handler(event, context):
            numbers = {r["dynamodb"]["Keys"]["pk"]["S"]: r["dynamodb"]["SequenceNumber"] for r in event["Records"]}
            say(list(numbers))
            first = not os.path.exists(os.environ["SAID"] + "failed")
            open(os.environ["SAID"] + "failed", "w").close()
            failed = [numbers["d"], numbers["c"]] if first else []
            return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}
    """
    stack = deploy(handler, stream=PARTIAL)
    stack.put(*[item(key) for key in "abcde"])

    stack.await_idle(stack.runner())

    assert stack.said() == [list("abcde"), list("cde")]


@pytest.mark.parametrize("identifier", ["''", "None", "'0000'"])
def test_an_identifier_that_is_none_fails_the_whole_batch(deploy: Callable[..., Any], identifier: str) -> None:
    """Lambda Developer Guide, "Configuring partial batch response with DynamoDB and Lambda", failure conditions."""
    handler = f"""
        def handler(event, context):
            say(len(event["Records"]))
            return {{"batchItemFailures": [{{"itemIdentifier": {identifier}}}]}}
    """
    stack = deploy(handler, stream={**PARTIAL, "MaximumRetryAttempts": 1})
    stack.put(item("a"), item("b"))

    stack.await_idle(stack.runner())

    assert stack.said() == [2, 2]
    assert len(discarded(stack)) == 1


def test_a_poison_record_ends_in_s3_and_the_shard_goes_on(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Retain discarded records for a DynamoDB event source in Lambda": S3 keeps the records.

    Splitting does not consume the retry quota: one invocation and two retries of the record alone.
    """
    handler = """
        def handler(event, context):
            keys = [r["dynamodb"]["Keys"]["pk"]["S"] for r in event["Records"]]
            if "poison" in keys:
                say(["failed", keys])
                raise ValueError("poison")
            say(["done", keys])
    """
    stack = deploy(handler, stream={**BATCHES, "BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 2})
    stack.put(*[item(key) for key in ("a", "b", "poison", "c", "d")])
    runner = stack.runner()

    status = stack.await_idle(runner)
    stack.put(item("later"))
    stack.await_idle(runner)

    assert flat(keys for outcome, keys in stack.said() if outcome == "done") == ["a", "b", "c", "d", "later"]
    assert [keys for outcome, keys in stack.said() if keys == ["poison"]] == [["poison"]] * 3
    assert list(status.discarded.values()) == [1]
    ((key, record),) = discarded(stack)
    uuid = runner.deployment.stream_mappings[0].uuid
    assert key.startswith(f"aws/lambda/{uuid}/shardId-")
    day, moment = key.split("/")[-4:-1], key.split("/")[-1]
    assert moment.startswith("-".join(day) + "T")
    assert len(moment) == len("2026-11-23T10.00.00-") + 36
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["requestContext"]["approximateInvokeCount"] >= 3
    assert record["requestContext"]["functionArn"].endswith(stack.output("FunctionName"))
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    batch = record["DDBStreamBatchInfo"]
    assert (batch["batchSize"], batch["startSequenceNumber"]) == (1, batch["endSequenceNumber"])
    (kept,) = json.loads(record["payload"])["Records"]
    assert kept["dynamodb"]["NewImage"] == item("poison")


def test_without_bisection_the_whole_batch_is_given_up(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Retain discarded records for a DynamoDB event source in Lambda": retry attempts."""
    failing = "def handler(event, context): say(1); raise ValueError"
    stack = deploy(failing, stream={**BATCHES, "MaximumRetryAttempts": 2})
    stack.put(item("a"), item("b"))

    stack.await_idle(stack.runner())

    assert stack.said() == [1, 1, 1]
    ((_, record),) = discarded(stack)
    assert len(json.loads(record["payload"])["Records"]) == 2


def test_a_record_past_its_age_is_given_up_uninvoked(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Retain discarded records for a DynamoDB event source in Lambda": maximum age."""
    handler = """
        def handler(event, context):
            say([r["dynamodb"]["Keys"]["pk"]["S"] for r in event["Records"]])
            time.sleep(0.3)
            raise ValueError
    """
    # Lambda takes no less than 60 seconds; the engine takes any.
    stack = deploy(handler, stream={**BATCHES, "MaximumRecordAgeInSeconds": 12})
    runner = stack.runner()
    stack.put(item("a"))

    stack.await_idle(runner)

    assert len(stack.said()) > 1
    ((_, record),) = discarded(stack)
    assert record["requestContext"]["condition"] == "RecordAgeExceeded"


def test_a_mapping_from_the_latest_skips_what_was(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Polling and batching streams": starting positions."""
    stack = deploy(COLLECT, stream={**BATCHES, "StartingPosition": "LATEST"})
    stack.put(item("before"))
    runner = stack.runner()
    stack.await_idle(runner)
    stack.put(item("after"))

    stack.await_idle(runner)

    assert flat(stack.said()) == ["after"]


def test_the_next_runner_goes_on_where_the_last_one_was(deploy: Callable[..., Any]) -> None:
    """A clean stop: nothing twice, nothing lost."""
    stack = deploy(COLLECT, stream=BATCHES)
    first = stack.runner()
    stack.put(item("a"), item("b"))
    stack.await_idle(first)
    first.stop()
    stack.put(item("c"))

    stack.await_idle(stack.runner())

    assert flat(stack.said()) == ["a", "b", "c"]


def test_a_killed_runner_loses_nothing(deploy: Callable[..., Any]) -> None:
    """SIGKILL in the middle of the stream: the next runner hands over the rest, at least once."""
    handler = """
        def handler(event, context):
            said = os.environ["SAID"]
            while os.path.exists(said) and open(said).read().count("\\n") >= 5 and not os.path.exists(f"{said}.go"):
                time.sleep(0.02)
            say([record["dynamodb"]["Keys"]["pk"]["S"] for record in event["Records"]])
    """
    stack = deploy(handler, stream={**BATCHES, "BatchSize": 2, "MaximumBatchingWindowInSeconds": 0})
    keys = [f"{n:03}" for n in range(60)]
    stack.put(*[item(key) for key in keys])
    process = stack.killable()
    stack.until(lambda: len(stack.said()) >= 5)

    process.kill()
    process.wait()
    before = len(stack.said())
    (stack.code / "said.go").touch()
    stack.await_idle(stack.runner())

    seen = flat(stack.said())
    assert before < 30
    assert sorted(set(seen)) == keys
    assert len(seen) <= len(keys) + 4


def test_chaos_repeats_and_loses_nothing(deploy: Callable[..., Any]) -> None:
    """Lambda Developer Guide, "Understanding retry behavior in Lambda": each record at least once, in order."""
    bounds = {"BatchSize": 5, "MaximumRetryAttempts": 8, "BisectBatchOnFunctionError": True}
    stack = deploy(COLLECT, stream={**BATCHES, **bounds})
    keys = [f"{n:03}" for n in range(60)]
    stack.put(*[item(key) for key in keys])

    stack.await_idle(stack.runner(chaos=Chaos(7, duplicate=0.3, delay=0.1, kill=0.2, drop_answer=0.2)))

    seen = flat(stack.said())
    assert list(dict.fromkeys(seen)) == keys
    assert len(seen) > len(keys)
    assert discarded(stack) == []
