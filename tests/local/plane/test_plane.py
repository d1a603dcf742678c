"""What the engine must keep over a stop and a start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3

from nilometer.local.plane.engine import Engine, engine


def client(running: Engine, service: str) -> Any:
    return boto3.session.Session().client(  # type: ignore[call-overload]
        service,
        endpoint_url=running.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def put(running: Engine, key: str) -> None:
    client(running, "dynamodb").put_item(TableName="facts", Item={"pk": {"S": key}})


def read(running: Engine, **position: str) -> list[dict[str, Any]]:
    arn = client(running, "dynamodb").describe_table(TableName="facts")["Table"]["LatestStreamArn"]
    streams = client(running, "dynamodbstreams")
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], **position)["ShardIterator"]
    return list(streams.get_records(ShardIterator=iterator)["Records"])


def test_unread_stream_records_survive_a_restart(tmp_path: Path) -> None:
    """A stop between a write and its relay loses nothing, and what comes later follows what was before."""
    with engine(port=0, data=tmp_path, log=tmp_path / "log") as running:
        client(running, "dynamodb").create_table(
            TableName="facts",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        put(running, "a")
        put(running, "b")
        first = read(running, ShardIteratorType="TRIM_HORIZON")[0]["dynamodb"]["SequenceNumber"]

    with engine(port=0, data=tmp_path, log=tmp_path / "log") as running:
        put(running, "c")
        after = read(running, ShardIteratorType="AFTER_SEQUENCE_NUMBER", SequenceNumber=first)

    assert [record["dynamodb"]["Keys"]["pk"]["S"] for record in after] == ["b", "c"]
    assert int(after[0]["dynamodb"]["SequenceNumber"]) < int(after[1]["dynamodb"]["SequenceNumber"])


def test_a_received_message_is_visible_after_a_restart(tmp_path: Path) -> None:
    """Who received it ended with the engine, perhaps before the answer arrived."""
    with engine(port=0, data=tmp_path, log=tmp_path / "log") as running:
        queue = client(running, "sqs")
        url = queue.create_queue(QueueName="work", Attributes={"VisibilityTimeout": "900"})["QueueUrl"]
        for body in ("a", "b"):
            queue.send_message(QueueUrl=url, MessageBody=body)
        queue.send_message(QueueUrl=url, MessageBody="delayed", DelaySeconds=600)
        assert len(queue.receive_message(QueueUrl=url)["Messages"]) == 1

    with engine(port=0, data=tmp_path, log=tmp_path / "log") as running:
        queue = client(running, "sqs")
        url = queue.get_queue_url(QueueName="work")["QueueUrl"]
        received = queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]

    assert sorted(message["Body"] for message in received) == ["a", "b"]
