"""Sending packed messages: all of them, in requests that SQS takes."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import msgspec
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from nilometer.aws import sqs
from nilometer.aws.sqs import MESSAGE_BYTES, MESSAGES, Queue, _batches
from nilometer.domain.events.carried import carried, carried_bytes
from nilometer.errors import Rejected, Unavailable
from nilometer.local.plane.engine import REGION, Engine

REFUSED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # SQS API Reference, "SendMessage"
URL = "https://sqs.us-east-1.amazonaws.com/123456789012/queue"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs.time, "sleep", lambda _seconds: None)


@pytest.fixture
def client() -> Any:
    return boto3.client("sqs", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture
def answers(client: Any) -> Iterator[Stubber]:
    """What AWS would answer, checked against its own model."""
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def answer(*, sent: tuple[str, ...] = (), failed: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "Successful": [{"Id": n, "MessageId": n, "MD5OfMessageBody": "0" * 32} for n in sent],
        "Failed": [{"Id": n, "SenderFault": False, "Code": "InternalError"} for n in failed],
    }


def request(**bodies: str) -> dict[str, Any]:
    return {"QueueUrl": URL, "Entries": [{"Id": n.strip("_"), "MessageBody": body} for n, body in bodies.items()]}


def test_only_failed_messages_are_sent_again(client: Any, answers: Stubber) -> None:
    """By the identifier that SQS names."""
    answers.add_response("send_message_batch", answer(sent=("0", "2"), failed=("1",)), request(_0="a", _1="b", _2="c"))
    answers.add_response("send_message_batch", answer(sent=("1",)), request(_1="b"))

    Queue(client, url=URL).send(["a", "b", "c"])


def test_a_message_that_stays_refused_is_an_error(client: Any, answers: Stubber) -> None:
    """After four tries."""
    for _ in range(4):
        answers.add_response("send_message_batch", answer(failed=("0",)))

    with pytest.raises(Unavailable):
        Queue(client, url=URL).send(["a"])


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("InvalidMessageContents", Rejected),
        ("AWS.SimpleQueueService.InvalidMessageContents", Rejected),
        ("KMS.AccessDeniedException", Unavailable),
    ],
)
def test_what_sqs_never_takes_is_not_waited_for(client: Any, answers: Stubber, code: str, error: Any) -> None:
    """The text is wrong for good; a key that is missing is not, though SQS calls both the sender's fault."""
    failed = {"Successful": [], "Failed": [{"Id": "0", "SenderFault": True, "Code": code}]}
    answers.add_response("send_message_batch", failed)

    with pytest.raises(error):
        Queue(client, url=URL).send(["a"], attempts=1)


def test_a_request_that_sqs_never_takes_is_not_waited_for(client: Any, answers: Stubber) -> None:
    """The same as the answer to a whole request."""
    answers.add_client_error("send_message_batch", "InvalidMessageContents", http_status_code=400)

    with pytest.raises(Rejected):
        Queue(client, url=URL).send(["a"])


@given(st.dictionaries(st.text(), st.text(st.characters(codec="utf-8")) | st.sampled_from(["\ufffe", "a\uffff\\"])))
def test_any_json_is_carried_and_says_the_same(value: dict[str, str]) -> None:
    """No character that SQS refuses is left in it; Python's own reader agrees."""
    content = msgspec.json.encode(value)
    body = carried(content.decode())

    assert not REFUSED.search(body)
    assert carried_bytes(content) == body.encode()
    assert json.loads(body) == value


def test_what_is_sent_has_no_character_that_sqs_refuses(client: Any, answers: Stubber) -> None:
    """Its size is counted after that: a batch of them is within the bounds too."""
    grown = json.dumps("\\uffff" * 150_000).replace("\\\\", "\\")
    for _ in range(2):
        answers.add_response("send_message_batch", answer(sent=("0",)), request(_0=grown))

    Queue(client, url=URL).send([json.dumps("\uffff" * 150_000, ensure_ascii=False)] * 2)


def test_an_error_of_the_service_is_unavailable(client: Any, answers: Stubber) -> None:
    """The caller's batch is delivered again."""
    answers.add_client_error("send_message_batch", "OverLimit", http_status_code=403)

    with pytest.raises(Unavailable, match="OverLimit"):
        Queue(client, url=URL).send(["a"])


@given(st.lists(st.integers(1, MESSAGE_BYTES), max_size=40))
def test_batches_keep_order_and_limits(sizes: list[int]) -> None:
    """At most ten messages and 1 MB a request; nothing is dropped, moved or sent empty."""
    bodies = ["x" * size for size in sizes]

    batches = list(_batches(bodies))

    assert [body for batch in batches for body in batch] == bodies
    assert all(0 < len(batch) <= MESSAGES for batch in batches)
    assert all(sum(map(len, batch)) <= MESSAGE_BYTES for batch in batches)


def test_bytes_are_counted_not_characters() -> None:
    """Four bytes each."""
    assert [len(batch) for batch in _batches(["𝄞" * 200_000] * 2)] == [1, 1]


def test_a_real_queue_holds_what_was_sent(aws: Engine) -> None:
    """Large and small, more than one request takes."""
    client: Any = boto3.client(
        "sqs", endpoint_url=aws.endpoint_url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )
    url = client.create_queue(QueueName=f"queue-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    queue = Queue(client, url=url)

    queue.send([json.dumps({"n": n, "pad": "x" * (300_000 if n % 5 == 0 else 10)}) for n in range(25)])

    received = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        received += [json.loads(message["Body"])["n"] for message in messages]
    assert sorted(received) == list(range(25))
