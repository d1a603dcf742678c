"""What a run asked of AWS is counted as AWS bills it."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.support.stores.engine import new_store

from nilometer.aws.dynamodb import Store
from nilometer.domain.store.writes import Absent, Key, Put, Table
from nilometer.errors import Cancelled
from nilometer.local.plane.charges import DELIVERED, EMPTY, Charge, Exchange, charges, item_bytes
from nilometer.local.plane.counting import CountingProxy
from nilometer.local.plane.engine import REGION, Engine
from nilometer.local.sources.engine_api import EngineApi


@pytest.fixture
def proxy(aws: Engine) -> Iterator[CountingProxy]:
    with CountingProxy(aws.endpoint_url) as running:
        yield running


def client(proxy: CountingProxy, service: str, caller: str = "BillingFunction") -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=proxy.url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(user_agent_appid=caller),
    )


def counted(proxy: CountingProxy) -> dict[str, tuple[int, int, float]]:
    """Requests, items and what is billed, by operation."""
    found = proxy.counts().charges
    return {charge.operation: (requests, charge.items, charge.billed) for charge, requests in found}


def put(key: str, size: int = 0) -> Put:
    return Put(table=Table.RECORDS, item={"pk": key, "sk": "A", "kind": "x", "version": 1, "text": "x" * size})


def test_a_transaction_is_billed_twice_for_each_kilobyte(proxy: CountingProxy, dynamodb: Any) -> None:
    """As the store itself counts what DynamoDB says that it consumed."""
    tables = new_store(dynamodb)._names
    store = Store(client(proxy, "dynamodb"), records=tables[Table.RECORDS], events=tables[Table.EVENTS])

    store.commit([put("a"), put("b", size=3000)])
    store.get(Table.RECORDS, Key("a", "A"), consistent=True)

    assert counted(proxy) == {"TransactWriteItems": (1, 0, 8.0), "GetItem": (1, 0, 1.0)}
    assert store.write_units == 8.0


def test_what_a_condition_refused_is_billed_too(proxy: CountingProxy, dynamodb: Any) -> None:
    """By the size of what was to be written."""
    tables = new_store(dynamodb)._names
    store = Store(client(proxy, "dynamodb"), records=tables[Table.RECORDS], events=tables[Table.EVENTS])
    store.commit([put("a")])
    proxy.reset()

    with pytest.raises(Cancelled):
        store.commit([Put(table=Table.RECORDS, item=put("a", size=2000).item, expected=Absent())])

    assert counted(proxy)["TransactWriteItems"] == (1, 0, 4.0)


def test_an_event_is_billed_for_each_64_kb(proxy: CountingProxy) -> None:
    """Entries, not requests."""
    events = client(proxy, "events")
    bus = events.create_event_bus(Name=f"bus-{uuid.uuid4().hex[:8]}")["EventBusArn"]
    proxy.reset()

    entry = {"EventBusName": bus, "Source": "s", "DetailType": "usage.recorded.v1"}
    events.put_events(Entries=[{**entry, "Detail": "{}"}, {**entry, "Detail": json.dumps({"x": "y" * 70_000})}])

    [(charge, requests)] = proxy.counts().charges
    assert (charge.caller, charge.resource) == ("BillingFunction", "usage.recorded.v1")
    assert (requests, charge.items, charge.billed) == (2, 2, 3.0)


def test_a_queues_requests_are_told_from_its_empty_polls(proxy: CountingProxy) -> None:
    """And a message that comes again was sent once."""
    sqs = client(proxy, "sqs")
    url = sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    proxy.reset()

    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": "x" * 40_000} for n in range(2)])
    for _ in range(2):
        sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageSystemAttributeNames=["All"]
        )
    sqs.purge_queue(QueueUrl=url)
    sqs.receive_message(QueueUrl=url)

    found = counted(proxy)
    assert found["SendMessageBatch"] == (1, 0, 2.0)
    assert found["ReceiveMessage"] == (2, 4, 4.0)
    assert found[DELIVERED] == (1, 2, 2.0)
    assert found[EMPTY][0] == 1


def test_what_a_poller_asks_for_at_once_is_billed_in_tens(proxy: CountingProxy) -> None:
    """One request of ours stands for what Lambda's pollers ask in several."""
    url = client(proxy, "sqs").create_queue(QueueName=f"queue-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    for _ in range(3):
        entries = [{"Id": str(n), "MessageBody": "x" * 10_000} for n in range(7)]
        client(proxy, "sqs").send_message_batch(QueueUrl=url, Entries=entries)
    proxy.reset()

    api = EngineApi(proxy.url, region="us-east-1", access_key="test")
    received = api.receive(url, 100)
    api.delete(url, [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(received)])

    found = counted(proxy)
    assert found["ReceiveMessage"] == (1, 21, 5.0), "100, 100 and 10 kilobytes"
    assert found["DeleteMessageBatch"] == (1, 0, 3.0)


def test_objects_are_told_by_verb_and_prefix(proxy: CountingProxy) -> None:
    """A list is priced as a write."""
    s3 = client(proxy, "s3")
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    proxy.reset()

    s3.put_object(Bucket=bucket, Key="lake/usage/_delta_log/0.json", Body=b"{}")
    s3.head_object(Bucket=bucket, Key="lake/usage/_delta_log/0.json")
    s3.list_objects_v2(Bucket=bucket, Prefix="lake/usage/_delta_log/")

    assert {(charge.operation, charge.resource) for charge, _ in proxy.counts().charges} == {
        ("PUT", "lake/usage"),
        ("HEAD", "lake/usage"),
        ("LIST", "lake/usage"),
    }


def test_an_error_comes_through_as_it_is(proxy: CountingProxy) -> None:
    """The proxy changes no answer."""
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client(proxy, "dynamodb").get_item(TableName="nowhere", Key={"pk": {"S": "a"}})


def test_a_request_that_nobody_signed_is_nobodys() -> None:
    """Such as the health check of the engine."""
    [charge] = charges(Exchange(method="GET", target="/_ministack/health", headers={}, body=b""))

    assert charge == Charge(caller="", service="", operation="")


def test_an_item_is_as_large_as_dynamodb_says() -> None:
    """Names and values; a map and a list take three bytes more, and one for each part."""
    assert item_bytes({"pk": {"S": "é"}}) == 4
    assert item_bytes({"n": {"N": "-123"}}) == 4
    assert item_bytes({"m": {"M": {"a": {"L": [{"BOOL": True}]}}}}) == 1 + 3 + 1 + 1 + 3 + 1 + 1


def test_the_proxy_ends_with_who_started_it() -> None:
    """Also when that was killed: the pipe closes."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "nilometer.local.plane.counting", "http://127.0.0.1:1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdin
    assert int(process.stdout.readline())

    process.stdin.close()

    assert process.wait(60) == 0
