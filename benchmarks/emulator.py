"""A peer of the local stack: MiniStack as it is published, with nothing of ours in it, and one hop instead of a stack.

An event is put on its bus, a rule sends it to a queue, one consumer receives ten at a time, writes each as an item and
deletes them. No signature, no function, no state, no relay, no lake, and nothing on the disk: what an emulator alone
costs.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.config import Config

from nilometer.local.plane.engine import REGION, free_port, session
from nilometer.local.workers.cpu import cpu_seconds

NAME = "events"
START_SECONDS = 60


def bare(events: Sequence[Mapping[str, Any]], *, connections: int) -> dict[str, float]:
    """Events a second until the bus has taken all and until the table has, and milliseconds of CPU an event."""
    with _emulator() as (endpoint, pid):
        client = _clients(endpoint)
        url = _deploy(client)
        consumer = threading.Thread(target=_consume, args=(client, url, len(events)))
        used, began = time.process_time() + cpu_seconds(pid), time.monotonic()
        consumer.start()
        with ThreadPoolExecutor(connections) as pool:
            bus = client("events")
            list(pool.map(lambda event: bus.put_events(Entries=[_entry(event)]), events))
        accepted = time.monotonic() - began
        consumer.join()
        stored = time.monotonic() - began
        used = time.process_time() + cpu_seconds(pid) - used
    return {
        "accepted": round(len(events) / accepted, 1),
        "in_table": round(len(events) / stored, 1),
        "cpu_ms": round(used / len(events) * 1000, 2),
    }


def _entry(event: Mapping[str, Any]) -> dict[str, str]:
    return {"EventBusName": NAME, "Source": "peer", "DetailType": event["type"], "Detail": json.dumps(event)}


def _consume(client: Callable[[str], Any], url: str, count: int) -> None:
    sqs, dynamodb, done = client("sqs"), client("dynamodb"), 0
    while done < count:
        received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        if not received:
            continue
        puts = [{"PutRequest": {"Item": _item(message["Body"])}} for message in received]
        dynamodb.batch_write_item(RequestItems={NAME: puts})
        entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(received)]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        done += len(received)


def _item(body: str) -> dict[str, dict[str, str]]:
    return {"pk": {"S": json.loads(body)["detail"]["id"]}, "payload": {"S": body}}


def _deploy(client: Callable[[str], Any]) -> str:
    """The URL of the queue behind the bus."""
    events, sqs = client("events"), client("sqs")
    client("dynamodb").create_table(
        TableName=NAME,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    url = str(sqs.create_queue(QueueName=NAME)["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.create_event_bus(Name=NAME)
    events.put_rule(Name=NAME, EventBusName=NAME, EventPattern=json.dumps({"source": ["peer"]}))
    events.put_targets(Rule=NAME, EventBusName=NAME, Targets=[{"Id": NAME, "Arn": arn}])
    return url


def _clients(endpoint: str) -> Callable[[str], Any]:
    own, config = session(), Config(parameter_validation=False, max_pool_connections=50)

    def client(service: str) -> Any:
        return own.client(service, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]  # a name

    return client


@contextlib.contextmanager
def _emulator() -> Iterator[tuple[str, int]]:
    """The endpoint and the process of one that keeps everything in memory."""
    port = free_port()
    given = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0", "AWS_REGION": REGION}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ministack"],
        env={**os.environ, **given, "SERVICES": "dynamodb,events,sqs"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.kill()
        process.wait()


def _await(endpoint: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(endpoint):
        assert time.monotonic() < deadline, "the emulator did not start"
        time.sleep(0.1)


def _answers(endpoint: str) -> bool:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=1).close()  # noqa: S310  # our own loopback
        return True
    return False
