"""A replay starts once, whatever becomes of the answer, and says how far it is."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from nilometer.aws.eventbridge import Archive, Archives, Replay
from nilometer.errors import Unavailable
from nilometer.local.plane.engine import REGION, Engine


def client(endpoint_url: str | None = None) -> Any:
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    return session.client("events", endpoint_url=endpoint_url)


def replay(archive: Archive, rule: str = "arn:aws:events:us-east-1:1:rule/bus/rule") -> Replay:
    now = datetime.now(UTC)
    name = f"replay-{uuid.uuid4().hex[:8]}"
    return Replay(name=name, archive=archive, rule=rule, since=now - timedelta(hours=1), until=now + timedelta(hours=1))


def test_a_replay_is_started_once(aws: Engine) -> None:
    """A second start of the same name, as after a lost answer, is none."""
    events = client(aws.endpoint_url)
    bus = f"bus-{uuid.uuid4().hex[:8]}"
    arn = events.create_event_bus(Name=bus)["EventBusArn"]
    events.put_rule(Name="one", EventBusName=bus, EventPattern=json.dumps({"source": ["a"]}))
    events.create_archive(ArchiveName=bus, EventSourceArn=arn, RetentionDays=90)
    archives = Archives(events)
    [archive] = archives.of_bus(bus)
    one = replay(archive, archives.rules(bus)["one"])

    for _ in range(2):
        archives.start(one)
    while not archives.progress(one).ended:
        time.sleep(0.05)

    assert (archive.bus, archive.days) == (arn, 90)
    assert archives.progress(one).state == "COMPLETED"


def test_a_refusal_is_unavailable_and_a_failure_has_its_reason() -> None:
    """EventBridge API, StartReplay and DescribeReplay."""
    events = client()
    one = replay(Archive(name="a", arn="arn:archive", bus="arn:bus", days=0, events=0))
    with Stubber(events) as answers:
        answers.add_client_error("start_replay", "LimitExceededException")
        answers.add_response("describe_replay", {"State": "FAILED", "StateReason": "the bus is gone"})

        with pytest.raises(Unavailable, match="did not start"):
            Archives(events).start(one)
        progress = Archives(events).progress(one)

    assert (progress.ended, progress.reason) == (True, "the bus is gone")
