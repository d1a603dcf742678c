"""A dead-letter queue keeps what was only looked at, and loses nothing when a process dies."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from tests.support.faulty import Killed
from tests.support.project import ROOT

from nilometer.aws.dead_letters import ALIAS, DeadLetterQueue, invoke, places
from nilometer.errors import Refused, Unavailable
from nilometer.local.plane.engine import REGION, Engine


@pytest.fixture
def client(aws: Engine) -> Any:
    return boto3.client(
        "sqs", endpoint_url=aws.endpoint_url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )


@pytest.fixture
def urls(client: Any) -> list[str]:
    """A dead-letter queue and its source."""
    suffix = uuid.uuid4().hex[:12]
    return [client.create_queue(QueueName=f"{name}-{suffix}")["QueueUrl"] for name in ("dead", "source")]


@pytest.fixture
def dead(client: Any, urls: list[str]) -> DeadLetterQueue:
    return DeadLetterQueue(client, name="DeadLetters", url=urls[0], source_url=urls[1])


def put(client: Any, url: str, count: int) -> None:
    for n in range(count):
        client.send_message(QueueUrl=url, MessageBody=json.dumps({"n": n}))


def bodies(client: Any, url: str) -> list[int]:
    """All that is visible, which is hidden afterwards."""
    found: list[int] = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [json.loads(message["Body"])["n"] for message in messages]
    return sorted(found)


def everything(dead: DeadLetterQueue, act: Callable[[list[Any]], None] = lambda _: None) -> list[Any]:
    found: list[Any] = []
    with dead.opened() as batches:
        for batch in batches:
            found += batch
            act(batch)
    return found


def test_a_look_changes_nothing(client: Any, urls: list[str], dead: DeadLetterQueue) -> None:
    """Each letter is seen once, and all are visible at once afterwards, also when the look is broken off."""
    put(client, urls[0], 25)

    seen = everything(dead)
    with dead.opened() as batches:
        next(batches)

    assert len({letter.id for letter in seen}) == 25
    assert bodies(client, urls[0]) == list(range(25))


def test_no_look_is_counted_as_a_delivery(client: Any, urls: list[str]) -> None:
    """A letter failed twice in its queue: however often it is looked at, that is what is said. One that was never
    delivered failed at no delivery."""
    arn = client.get_queue_attributes(QueueUrl=urls[0], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    quick = {"RedrivePolicy": policy, "VisibilityTimeout": "0"}
    client.set_queue_attributes(QueueUrl=urls[1], Attributes=quick)
    dead = DeadLetterQueue(client, name="DeadLetters", url=urls[0], source_url=urls[1], allowed=2)
    put(client, urls[1], 1)
    for _ in range(4):
        client.receive_message(QueueUrl=urls[1])
    put(client, urls[0], 1)

    seen = [sorted(letter.receives for letter in everything(dead)) for _ in range(4)]

    assert seen == [[0, 2]] * 4


def test_an_error_gives_everything_back(client: Any, urls: list[str], dead: DeadLetterQueue) -> None:
    put(client, urls[0], 3)

    with pytest.raises(ZeroDivisionError):
        everything(dead, lambda _: 1 // 0)  # type: ignore[arg-type,return-value]

    assert bodies(client, urls[0]) == [0, 1, 2]


def test_letters_go_back_whole(client: Any, urls: list[str], dead: DeadLetterQueue) -> None:
    """To the source, and they lie here no more."""
    put(client, urls[0], 25)

    everything(dead, dead.send_back)

    assert bodies(client, urls[1]) == list(range(25))
    assert bodies(client, urls[0]) == []


def test_without_a_source_nothing_moves(client: Any, urls: list[str]) -> None:
    """The sentence says what to do instead."""
    dead = DeadLetterQueue(client, name="ScheduleDeadLetters", url=urls[0], source_url=None)
    put(client, urls[0], 1)

    with pytest.raises(Refused, match="ScheduleDeadLetters has no queue: invoke its function once"):
        everything(dead, dead.send_back)

    assert bodies(client, urls[0]) == [0]


class Dying:
    """The real client; the process dies before `call`."""

    def __init__(self, client: Any, call: str) -> None:
        self._client, self._call = client, call

    def __getattr__(self, name: str) -> Any:
        if name == self._call:
            raise Killed
        return getattr(self._client, name)


@pytest.mark.parametrize(
    ("call", "sent"), [("receive_message", 0), ("send_message_batch", 0), ("delete_message_batch", 3)]
)
def test_a_death_loses_no_letter(client: Any, urls: list[str], call: str, sent: int) -> None:
    """It lies here still, or in both places; the next time it goes back."""
    put(client, urls[0], 3)
    dying = DeadLetterQueue(Dying(client, call), name="DeadLetters", url=urls[0], source_url=urls[1])  # type: ignore[arg-type]
    with pytest.raises(Killed):
        everything(dying, dying.send_back)
    alive = DeadLetterQueue(client, name="DeadLetters", url=urls[0], source_url=urls[1])

    everything(alive, alive.send_back)

    found = bodies(client, urls[1])
    assert len(found) == 3 + sent
    assert set(found) == {0, 1, 2}


def test_a_letter_that_sqs_keeps_is_an_error() -> None:
    """The request passed, this one entry failed: SQS API, DeleteMessageBatch. It is given back."""
    client: Any = boto3.client("sqs", region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")
    attributes = {"SentTimestamp": "1", "ApproximateFirstReceiveTimestamp": "1", "ApproximateReceiveCount": "1"}
    message = {"MessageId": "m1", "ReceiptHandle": "r1", "Body": "{}", "Attributes": attributes}
    dead = DeadLetterQueue(client, name="DeadLetters", url="https://sqs/dead", source_url=None)
    with Stubber(client) as answers:
        answers.add_response("receive_message", {"Messages": [message]})
        failed = {"Id": "0", "SenderFault": False, "Code": "InternalError"}
        answers.add_response("delete_message_batch", {"Successful": [], "Failed": [failed]})
        answers.add_response("change_message_visibility_batch", {"Successful": [], "Failed": []})

        with pytest.raises(Unavailable, match="kept 1"):
            everything(dead, dead.delete)

        answers.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("named", "qualifier"),
    [("changes:live", "live"), ("changes", "live"), ("changes:$LATEST", "live"), ("changes:7", "7")],
)
def test_a_batch_goes_to_the_alias_that_roles_allow(named: str, qualifier: str) -> None:
    """Lambda's example of what it gave up has no alias."""
    functions = boto3.client("lambda", region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")
    asked = {"FunctionName": "changes", "Qualifier": qualifier, "Payload": b"{}"}
    with Stubber(functions) as stub:
        stub.add_response("invoke", {"Payload": StreamingBody(io.BytesIO(b"null"), 4)}, asked)
        invoke(functions, f"arn:aws:lambda:{REGION}:000000000000:function:{named}", "{}")
        stub.assert_no_pending_responses()


def test_the_alias_is_that_of_the_template() -> None:
    """Every function's."""
    assert f"    AutoPublishAlias: {ALIAS}\n" in (ROOT / "template.yaml").read_text()


def test_places_are_named_by_one_url_and_names() -> None:
    """What a function's environment says; a queue of schedules has no source."""
    text = "https://sqs.test/1/s-Z UsageDeadLetters,s-dead,s-queue ScheduleDeadLetters,s-Z"

    assert list(places(text)) == [
        ("UsageDeadLetters", "https://sqs.test/1/s-dead", "https://sqs.test/1/s-queue"),
        ("ScheduleDeadLetters", "https://sqs.test/1/s-Z", None),
    ]
