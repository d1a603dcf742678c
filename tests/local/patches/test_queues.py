"""Many messages in one request, for our pollers; for everybody else SQS is as it was."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from nilometer.local.plane.engine import Engine
from nilometer.local.sources.engine_api import MORE, EngineApi


@pytest.fixture
def sqs(aws: Engine) -> Any:
    return boto3.session.Session().client(
        "sqs",
        endpoint_url=aws.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture
def api(aws: Engine) -> Iterator[EngineApi]:
    found = EngineApi(aws.endpoint_url, region="us-east-1", access_key="test")
    yield found
    found.close()


def queue(sqs: Any, **attributes: str) -> str:
    return str(sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex[:8]}", Attributes=attributes)["QueueUrl"])


def send(sqs: Any, url: str, *bodies: str) -> None:
    for start in range(0, len(bodies), 10):
        entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)


def entries(received: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(received)]


def test_one_message_is_the_same_however_it_is_received(sqs: Any, api: EngineApi) -> None:
    """With all its attributes."""
    url = queue(sqs)
    attributes = {"colour": {"DataType": "String", "StringValue": "blue"}}
    sqs.send_message(QueueUrl=url, MessageBody="hello", MessageAttributes=attributes)

    asked = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
    [whole] = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, **asked)["Messages"]
    [quick] = api.receive(url, 500)

    assert quick.pop("ReceiptHandle") != whole.pop("ReceiptHandle")
    assert quick["Attributes"].pop("ApproximateReceiveCount") == "2"
    assert whole["Attributes"].pop("ApproximateReceiveCount") == "1"
    assert quick == whole


def test_many_are_received_once_in_their_order_and_deleted_together(sqs: Any, api: EngineApi) -> None:
    """They stay invisible for the queue's timeout; a handle of nobody harms no other."""
    url = queue(sqs, VisibilityTimeout="600")
    bodies = [str(n) for n in range(55)]
    send(sqs, url, *bodies)

    first, rest, none = api.receive(url, 40), api.receive(url, 40), api.receive(url, 40)
    assert [one["Body"] for one in first + rest] == bodies
    assert none == []
    api.delete(url, [*entries(first), {"Id": "other", "ReceiptHandle": "none"}])

    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == "0"
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "15"


def test_an_answer_has_a_megabyte_or_one_message(sqs: Any, api: EngineApi) -> None:
    """Of a queue of large messages."""
    url = queue(sqs)
    for _ in range(4):
        sqs.send_message(QueueUrl=url, MessageBody="x" * 500_000)

    assert [len(api.receive(url, 100)) for _ in range(3)] == [2, 2, 0]


def test_what_was_received_too_often_goes_to_the_dead_letters(sqs: Any, api: EngineApi) -> None:
    """As with requests of SQS."""
    dead = queue(sqs)
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1}}'
    url = queue(sqs, VisibilityTimeout="0", RedrivePolicy=redrive)
    send(sqs, url, "poison")

    assert len(api.receive(url, 50)) == 1
    time.sleep(0.01)
    assert api.receive(url, 50) == []
    assert [one["Body"] for one in api.receive(dead, 50)] == ["poison"]


def test_the_messages_of_several_queues_are_counted_at_once(sqs: Any, api: EngineApi) -> None:
    """As a request for each of them counts; a queue that is not there is an error, as of SQS."""
    busy, later = queue(sqs), queue(sqs, DelaySeconds="600")
    send(sqs, busy, "1", "2", "3")
    send(sqs, later, "1")
    api.receive(busy, 1)

    found = api.depths([busy, later])

    assert [list(found[url].values()) for url in (busy, later)] == [["2", "1", "0"], ["0", "0", "1"]]
    for url, counts in found.items():
        asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(counts))["Attributes"]
        assert asked == counts
    assert api.depths([]) == {}
    with pytest.raises(ClientError, match="does not exist"):
        api.depths([busy, f"{busy}-of-nobody"])


def test_requests_without_it_are_held_to_ten(sqs: Any) -> None:
    """Source: Amazon SQS API Reference, ReceiveMessage and DeleteMessageBatch."""
    url = queue(sqs)

    with pytest.raises(ClientError, match="Must be between 1 and 10"):
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=11)
    with pytest.raises(ClientError, match="TooManyEntries"):
        sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "ReceiptHandle": "x"} for n in range(11)])


def test_both_sides_name_it_the_same() -> None:
    """The runner does not import the engine."""
    from nilometer.local.patches import queues  # the engine takes a second to import

    assert queues.MORE == MORE
