"""Log lines of functions on AWS, as CloudWatch Logs has them."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import boto3

from nilometer.console.events import feed
from nilometer.console.events.feed import CloudLogs
from nilometer.console.events.timeline import EventFilter, Timeline
from nilometer.local.plane.engine import REGION, Engine


def test_lines_of_cloudwatch_make_lives(aws: Engine) -> None:
    """Of every group that may be read; asked again at once it is not asked; a line that comes twice counts once."""
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    logs = session.client("logs", endpoint_url=aws.endpoint_url)
    group, now = f"/test/{uuid.uuid4().hex}", datetime.now(UTC)
    said = {"message": "usage.accepted", "timestamp": f"{now:%Y-%m-%d %H:%M:%S},000+0000", "event_id": "u-1"}
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    events = [{"timestamp": int(now.timestamp() * 1000), "message": json.dumps(said)}]
    logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)
    lines = CloudLogs(logs, [group, "/test/not-there"])
    lives = Timeline(lines)

    lives.refresh()

    assert [life.event_id for life in lives.newest(EventFilter())] == ["u-1"]
    assert list(lines.poll()) == []
    lines._next = 0.0
    assert len(list(lines.poll())) == 1
    assert feed.CLOUD_SECONDS >= 1
