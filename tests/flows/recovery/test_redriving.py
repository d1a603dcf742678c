"""What an outage left in dead letters goes back by schedule, a bounded number of times, over real queues."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import boto3
import pytest

from nilometer.aws.dead_letters import DeadLetterQueue
from nilometer.aws.s3 import Objects
from nilometer.domain.recovery.dead_letter import GIVEN_UP, Wanted
from nilometer.domain.recovery.redrive import EVERY, TRIES, WAITS
from nilometer.errors import Unavailable
from nilometer.flows.recovery.dead_letters import (
    UNREADABLE,
    RedriveReport,
    StreamBatches,
    delete,
    look,
    redrive_batches,
    redrive_due,
    stream_batches,
)
from nilometer.lambdas import redrive
from nilometer.local.plane.engine import Engine


class World:
    """A queue and its dead letters."""

    def __init__(self, client: Any) -> None:
        self.client = client
        name = uuid4().hex
        self.source, self.dead = (client.create_queue(QueueName=f"{name}{end}")["QueueUrl"] for end in ("", "-dead"))
        self.letters = DeadLetterQueue(client, name="UsageDeadLetters", url=self.dead, source_url=self.source)

    def die(self, body: str, attributes: Any = None) -> None:
        self.client.send_message(QueueUrl=self.dead, MessageBody=body, MessageAttributes=attributes or {})

    def redrive(self, *, later: timedelta) -> RedriveReport:
        now = datetime.now(UTC) + later
        [report] = redrive_due([self.letters], now=now, out_of_time=lambda: False)
        return report

    def arrived(self) -> list[Any]:
        answer = self.client.receive_message(
            QueueUrl=self.source, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
        )
        found: list[Any] = answer.get("Messages", [])
        return found


@pytest.fixture
def world(aws: Engine) -> World:
    return World(boto3.client("sqs", endpoint_url=aws.endpoint_url, region_name="us-east-1"))


def test_a_letter_goes_back_with_the_number_of_its_tries(world: World) -> None:
    """Its body is what it was; a redrive by hand begins again at nought."""
    world.die(json.dumps({"id": "evt_1"}))

    early, late = world.redrive(later=timedelta()), world.redrive(later=WAITS[0])

    assert (early.found, early.left, late.found, late.left) == (1, 1, 1, 0)
    [back] = world.arrived()
    assert json.loads(back["Body"]) == {"id": "evt_1"}
    assert back["MessageAttributes"][TRIES]["StringValue"] == "1"


def test_what_failed_each_time_stays_for_a_person(world: World) -> None:
    """Three tries, and the fourth look leaves it however old it is."""
    body, attributes = "{}", None
    for wait in WAITS:
        world.die(body, attributes)
        assert world.redrive(later=wait).left == 0
        [back] = world.arrived()
        attributes = back["MessageAttributes"]
        world.client.delete_message(QueueUrl=world.source, ReceiptHandle=back["ReceiptHandle"])
    world.die(body, attributes)

    last = world.redrive(later=timedelta(days=10))

    assert (last.found, last.sent, last.left) == (1, (), 1)
    assert world.arrived() == []


def test_letters_without_a_queue_are_counted_and_left(world: World) -> None:
    """Those of schedules: the next call does what they asked for."""
    world.letters.source_url = None
    world.die("{}")

    report = world.redrive(later=timedelta(days=1))

    assert (report.found, report.left, report.failed) == (1, 1, ())


def test_a_queue_that_cannot_be_read_keeps_no_other_from_its_turn(world: World) -> None:
    """It is reported with its reason."""
    gone = DeadLetterQueue(world.client, name="GoneDeadLetters", url=f"{world.dead}-gone", source_url=world.source)
    world.die("{}")

    now = datetime.now(UTC) + WAITS[0]
    first, second = redrive_due([gone, world.letters], now=now, out_of_time=lambda: False)

    assert (first.queue, len(first.failed)) == ("GoneDeadLetters", 1)
    assert second.left == 0


class SlowObjects(Objects):
    """A bucket that takes a twentieth of a second for each content; `got` has the keys that were read."""

    got: tuple[str, ...] = ()

    def read(self, uri: str) -> bytes | None:
        self._note(uri.removeprefix(f"s3://{self.bucket}/"))
        return super().read(uri)

    def _note(self, key: str) -> None:
        time.sleep(0.05)
        self.got += (key,)


@pytest.fixture
def bucket(objects: Objects) -> SlowObjects:
    """Twenty batches of two streams, which Lambda gave up just now."""
    for number in range(20):
        objects.write(f"s3://{objects.bucket}/{GIVEN_UP}{number:02}", json.dumps(given_up(f"T{number % 2}")).encode())
    return SlowObjects(objects._client, bucket=objects.bucket)


def given_up(table: str) -> dict[str, Any]:
    """As Lambda writes it."""
    arn = f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}/stream/x"
    return {
        "DDBStreamBatchInfo": {
            "streamArn": arn,
            "batchSize": 1,
            "approximateArrivalOfFirstRecord": "2026-11-30T00:00:00Z",
        },
        "requestContext": {
            "condition": "RecordAgeExceeded",
            "approximateInvokeCount": 9,
            "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:changes:live",
        },
        "timestamp": "2026-11-30T06:00:00Z",
        "payload": "{}",
    }


def test_more_batches_than_time_keep_no_queue_from_its_turn(
    world: World, bucket: SlowObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the handler: time for the queue, and for some of the batches of streams."""
    world.die("{}", {TRIES: {"DataType": "String", "StringValue": "0"}})
    later = datetime.now(UTC) + WAITS[0]
    monkeypatch.setattr(redrive, "_dependencies", lambda: ([world.letters], bucket, None))
    monkeypatch.setattr(redrive, "datetime", SimpleNamespace(now=lambda _zone: later))
    context = SimpleNamespace(aws_request_id="1", get_remaining_time_in_millis=lambda: 20_600)

    done = redrive.handler({}, context)

    assert done["sent"] >= 1
    assert len(world.arrived()) == 1


def test_a_batch_that_is_not_due_is_counted_and_not_read(bucket: SlowObjects) -> None:
    """All in one pass, whatever their number of streams; those that are due go back and away."""
    taken: list[str] = []
    streams = StreamBatches("streams", bucket, lambda _function, body: taken.append(body))
    now = datetime.now(UTC)

    [early] = redrive_batches(streams, now=now, out_of_time=lambda: False)
    assert (early.found, early.sent, bucket.got) == (20, (), ())
    [due] = redrive_batches(streams, now=now + EVERY * 1.5, out_of_time=lambda: False)
    assert (due.found, due.left, len(bucket.got), len(taken)) == (20, 0, 20, 20)
    assert list(bucket.listed(GIVEN_UP)) == []


def test_slow_batches_that_fail_again_keep_no_other_from_its_turn(bucket: SlowObjects) -> None:
    """With time for five an hour, each of the twenty has been tried within the day."""
    tried: set[str] = set()

    def refuse(_function: str, _body: str) -> None:
        raise Unavailable("it failed again")

    now = datetime.now(UTC) + EVERY * 1.5
    for hour in range(20):
        enough = len(bucket.got) + 5
        streams = StreamBatches("streams", bucket, refuse)
        list(
            redrive_batches(
                streams, now=now + timedelta(hours=hour), out_of_time=lambda enough=enough: len(bucket.got) >= enough
            )
        )
        tried |= set(bucket.got)

    assert len(tried) == 20


def test_what_is_no_batch_keeps_no_other_from_its_turn(bucket: SlowObjects) -> None:
    """It stays and is reported."""
    bucket.write(f"s3://{bucket.bucket}/{GIVEN_UP}00", b"[]")
    streams = StreamBatches("streams", bucket, lambda _function, _body: None)

    [report] = redrive_batches(streams, now=datetime.now(UTC) + EVERY * 1.5, out_of_time=lambda: False)

    assert (report.left, report.failed) == (1, (f"{GIVEN_UP}00 is no batch of a stream",))


NO_BATCHES = [b"[]", b"\xff", b"[" * 99_999, b'{"DDBStreamBatchInfo": 1}']


@pytest.mark.parametrize("content", [*NO_BATCHES, json.dumps(given_up("T") | {"timestamp": "today"}).encode()])
def test_what_is_no_batch_hides_no_other_from_the_lists(bucket: SlowObjects, content: bytes) -> None:
    """It is a letter too, which nobody can send back, and who has seen it can delete it."""
    bucket.write(f"s3://{bucket.bucket}/{GIVEN_UP}00", content)
    taken: list[str] = []
    boxes = stream_batches(bucket, lambda _function, body: taken.append(body))
    letters = look(boxes, Wanted(), reasons=lambda _box, _letters: {})

    assert [box.name for box in boxes] == ["stream of T0", "stream of T1", UNREADABLE]
    assert Counter(letter.queue for letter in letters) == {"stream of T0": 9, "stream of T1": 10, UNREADABLE: 1}
    assert [box.is_movable for box in boxes] == [True, True, False]
    assert delete(boxes[2], frozenset({f"{GIVEN_UP}00"})).count == 1
    [report] = redrive_batches(boxes[0], now=datetime.now(UTC) + EVERY * 1.5, out_of_time=lambda: False)
    assert (report.found, report.left, len(taken)) == (19, 0, 19)


def test_lists_read_each_batch_twice(bucket: SlowObjects) -> None:
    """To learn its stream, and for what is shown of it; what somebody takes away meanwhile is left out."""
    boxes = stream_batches(bucket, lambda _function, _body: None)
    bucket.delete(f"{GIVEN_UP}00")

    assert len(look(boxes, Wanted(), reasons=lambda _box, _letters: {})) == 19
    assert len(bucket.got) == 40


def test_without_time_nothing_is_begun(world: World) -> None:
    """The next quarter of an hour goes on."""
    world.die("{}")

    assert list(redrive_due([world.letters], now=datetime.now(UTC) + WAITS[0], out_of_time=lambda: True)) == []
