"""Stream records as Lambda delivers them, and the bus and queues that they are sent to."""

from __future__ import annotations

import base64
import json
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import boto3
import pytest
from tests.support.lake.build import KEYS, NOW

from nilometer.aws.eventbridge import Bus
from nilometer.aws.items import marshal
from nilometer.aws.s3 import Objects
from nilometer.aws.sqs import Queue
from nilometer.domain.events.outcome import Result
from nilometer.flows.lake import changes
from nilometer.local.plane.engine import REGION, Engine

ARN = "arn:aws:dynamodb:us-east-1:1:table/records/stream/2026-11-23T00:00:00.000"


CREATED = 1795407245


FACTS = {"stripe_event", "usage_event", "operation", "reject", "waiting_usage"}


@dataclass
class World:
    """Where the flow sends to, and what has arrived there."""

    bus: Bus
    queues: dict[str, Queue]
    objects: Objects
    sqs: Any
    urls: dict[str, str]

    def relay(self, *records: dict[str, Any], tells_all: bool = True) -> list[Result]:
        given: Any = {"bus": self.bus, "queues": self.queues, "objects": self.objects, "keys": KEYS, "now": NOW}
        return changes.relay(records, **given, tells_all=tells_all)

    def bodies(self, name: str) -> list[dict[str, Any]]:
        """Everything in a queue, taken out."""
        return [json.loads(message) for message in self._receive(name)]

    def _receive(self, name: str) -> Iterator[str]:
        for _ in range(20):
            answer = self.sqs.receive_message(QueueUrl=self.urls[name], MaxNumberOfMessages=10, WaitTimeSeconds=0)
            for message in answer.get("Messages", []):
                self.sqs.delete_message(QueueUrl=self.urls[name], ReceiptHandle=message["ReceiptHandle"])
                yield message["Body"]


@pytest.fixture
def world(aws: Engine, objects: Objects) -> World:
    def client(service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=aws.endpoint_url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    sqs, events, suffix = client("sqs"), client("events"), uuid.uuid4().hex[:8]
    urls = {
        name: sqs.create_queue(QueueName=f"{name}-{suffix}")["QueueUrl"]
        for name in ("stripe_events", "usage", "audit", "bus")
    }
    arn = sqs.get_queue_attributes(QueueUrl=urls["bus"], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus = f"bus-{suffix}"
    events.create_event_bus(Name=bus)
    events.put_rule(Name="all", EventBusName=bus, EventPattern='{"source": ["nilometer.changes"]}')
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "q", "Arn": arn}])
    queues = {name: Queue(sqs, url=urls[name]) for name in ("stripe_events", "usage", "audit")}
    return World(Bus(events, name=bus), queues, objects, sqs, urls)


def record(new: dict[str, Any] | None, old: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    """As Lambda hands it over: JSON, binary in base64."""
    name = "MODIFY" if new and old else "INSERT" if new else "REMOVE"
    item = new or old or {}
    stream: dict[str, Any] = {
        "ApproximateCreationDateTime": CREATED,
        "Keys": marshal({"pk": item["pk"], "sk": item["sk"]}),
        "SequenceNumber": changed.pop("sequence", "17"),
        "StreamViewType": "NEW_IMAGE" if item.get("kind") in FACTS else "NEW_AND_OLD_IMAGES",
    }
    stream |= {"NewImage": lambda_json(new)} if new else {}
    stream |= {"OldImage": lambda_json(old)} if old else {}
    return {"eventID": "x", "eventName": name, "eventSourceARN": ARN, "dynamodb": stream} | changed


def lambda_json(item: dict[str, Any]) -> Any:
    def encode(value: Any) -> str:
        return base64.b64encode(value).decode()

    return json.loads(json.dumps(marshal(item), default=encode))


def stripe_fact(payload: bytes | None = None, **changed: Any) -> dict[str, Any]:
    event = {
        "id": "evt_1",
        "object": "event",
        "data": {"object": {"object": "customer", "id": "cus_1", "email": "zoe@x.de"}},
    }
    return {
        "pk": "STRIPE#self#evt_1",
        "sk": "FACT",
        "kind": "stripe_event",
        "version": 1,
        "event_id": "evt_1",
        "type": "customer.created",
        "account": "self",
        "livemode": False,
        "api_version": "2026-10-28.endive",
        "created": CREATED,
        "object_type": "customer",
        "object_id": "cus_1",
        "customer_id": "cus_1",
        "workspace_id": None,
        "request_id": None,
        "source": "webhook",
        "received_at": "2026-11-23T04:14:06.120Z",
        "expires_at": CREATED + 40 * 86_400,
        "payload": payload or zlib.compress(json.dumps(event).encode()),
    } | changed


def usage_fact(event_id: str = "u1", **changed: Any) -> dict[str, Any]:
    return {
        "pk": f"USAGE#/s#{event_id}",
        "sk": "FACT",
        "kind": "usage_event",
        "version": 1,
        "event_id": event_id,
        "source": "/s",
        "type": "usage.recorded.v1",
        "workspace_id": "ws_1",
        "meter": "api_calls",
        "quantity": Decimal("1.5"),
        "unit": "call",
        "dimensions": {"model": "m"},
        "time": "2026-11-23T04:14:05.123Z",
        "created": CREATED,
        "period_start": "2026-11-01T00:00:00.000Z",
        "received_at": "2026-11-23T04:14:06.120Z",
        "payload_hash": "h",
    } | changed


def billing(**changed: Any) -> dict[str, Any]:
    return {"pk": "WORKSPACE#ws_1", "sk": "BILLING", "kind": "billing", "version": 1, "workspace_id": "ws_1"} | changed
