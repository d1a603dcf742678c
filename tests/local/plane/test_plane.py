"""What the engine must keep over a stop and a start."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from nilometer.local.plane.engine import Engine, engine


def client(running: Engine, service: str, **options: Any) -> Any:
    return boto3.session.Session().client(  # type: ignore[call-overload]
        service,
        endpoint_url=running.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(**options),
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


EXPIRING = """
import sys, threading
from pathlib import Path
from nilometer.local.plane import keeper, plane
from nilometer.local.plane.journal import Journal
kept = keeper.Keeper(Journal(Path(sys.argv[1])))
plane._keep_items(kept)
spec = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
table = {"TableArn": "arn:t", "LatestStreamArn": "arn:s", "pk_name": "pk", "sk_name": None, "items": {}}
table |= {"StreamSpecification": spec, "TableName": "facts"}
plane.dynamodb._tables.set_scoped("1", "us-east-1", "facts", table)
plane.dynamodb._set_item(table, "a", "__no_sort__", {"pk": {"S": "a"}})
reaper = threading.Thread(target=plane.dynamodb._remove_item, args=(table, "a", "__no_sort__"), name=plane._REAPER)
reaper.start()
reaper.join()
[record] = plane.dynamodb._stream_records.get_scoped("1", "us-east-1", "facts")
print(record["eventName"], record["userIdentity"]["PrincipalId"], record["dynamodb"]["OldImage"])
"""


def test_what_expires_leaves_the_record_that_dynamodb_writes(tmp_path: Path) -> None:
    """A REMOVE by the service, by which the lake tells an expiry from a deletion."""
    done = subprocess.run(
        [sys.executable, "-c", EXPIRING, str(tmp_path / "journal")], capture_output=True, text=True, check=True
    )

    assert done.stdout.split(maxsplit=2)[:2] == ["REMOVE", "dynamodb.amazonaws.com"]
    assert "'pk': {'S': 'a'}" in done.stdout


SENT = """
import sys, time
from pathlib import Path
from nilometer.local.plane import keeper
from nilometer.local.plane.journal import Journal
keeper.LOOKS_SECONDS = 3600
kept, messages = keeper.Keeper(Journal(Path(sys.argv[1]))), []
keeper.sqs._queues.set_scoped("1", "us-east-1", "http://here/1/work", {"messages": messages})
assert not kept.changes(0)
for number, ahead in enumerate((0, 0, 60)):
    messages.append({"id": str(number), "visible_at": time.time() + ahead, "receive_count": 0})
    before = kept.version
    kept.write()
    print(kept.changes(before))
"""


def test_a_message_that_was_sent_is_told_of_at_once(tmp_path: Path) -> None:
    """Also just after others; one that is delayed when its time has come."""
    done = subprocess.run(
        [sys.executable, "-c", SENT, str(tmp_path / "journal")], capture_output=True, text=True, check=True
    )

    assert done.stdout.split("\n") == ["{'work': 1}", "{'work': 2}", "{}", ""]


def test_a_killed_engine_forgets_nothing(tmp_path: Path) -> None:
    """Items, unread stream records, messages and secrets that it had acknowledged, after a kill -9."""
    with engine(port=0, data=tmp_path, log=tmp_path / "log") as running:
        client(running, "dynamodb").create_table(
            TableName="facts",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        url = client(running, "sqs").create_queue(QueueName="work")["QueueUrl"]
        sent = [client(running, "sqs").send_message(QueueUrl=url, MessageBody=body)["MessageId"] for body in "abc"]
        first = client(running, "sqs").receive_message(QueueUrl=url)["Messages"][0]
        client(running, "sqs").delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
        client(running, "secretsmanager").create_secret(Name="s", SecretString="kept")
        for key in "xyz":
            put(running, key)
        client(running, "dynamodb").delete_item(TableName="facts", Key={"pk": {"S": "y"}})
        guard = running.process.pid
        [child] = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        running.process.wait()

    with engine(port=0, data=tmp_path, log=tmp_path / "log") as running:
        items = client(running, "dynamodb").scan(TableName="facts")["Items"]
        records = read(running, ShardIteratorType="TRIM_HORIZON")
        url = client(running, "sqs").get_queue_url(QueueName="work")["QueueUrl"]
        left = client(running, "sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        secret = client(running, "secretsmanager").get_secret_value(SecretId="s")["SecretString"]

    assert sorted(item["pk"]["S"] for item in items) == ["x", "z"]
    assert [record["eventName"] for record in records] == ["INSERT", "INSERT", "INSERT", "REMOVE"]
    assert sorted(message["MessageId"] for message in left) == sorted(set(sent) - {first["MessageId"]})
    assert secret == "kept"


def test_an_object_that_the_disk_did_not_take_is_read_by_nobody(tmp_path: Path) -> None:
    """Who read it could rely on what the next start does not find. With space again it is written, and read."""
    with engine(port=0, data=tmp_path, log=tmp_path / "log") as running:
        s3 = client(running, "s3", retries={"total_max_attempts": 1})
        s3.create_bucket(Bucket="lake")
        [child] = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        before = resource.prlimit(int(child), resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        for ask in (lambda: s3.put_object(Bucket="lake", Key="a/b", Body=b"x" * 2_000_000), lambda: _body(s3)):
            with pytest.raises(ClientError, match="503"):
                ask()
        resource.prlimit(int(child), resource.RLIMIT_FSIZE, before)
        assert len(_body(s3)) == 2_000_000
        os.kill(int(child), signal.SIGKILL)
        running.process.wait()

    with engine(port=0, data=tmp_path, log=tmp_path / "log") as running:
        assert len(_body(client(running, "s3"))) == 2_000_000


def _body(s3: Any) -> bytes:
    return bytes(s3.get_object(Bucket="lake", Key="a/b")["Body"].read())
