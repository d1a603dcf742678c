"""What an outage left in dead letters goes back by schedule, a bounded number of times, over real queues."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import boto3
import pytest

from nilometer.aws.dead_letters import DeadLetterQueue
from nilometer.domain.recovery.redrive import TRIES, WAITS
from nilometer.flows.recovery.dead_letters import RedriveReport, redrive_due
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


def test_without_time_nothing_is_begun(world: World) -> None:
    """The next quarter of an hour goes on."""
    world.die("{}")

    assert list(redrive_due([world.letters], now=datetime.now(UTC) + WAITS[0], out_of_time=lambda: True)) == []
