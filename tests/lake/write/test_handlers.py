"""The functions as Lambda calls them, on S3."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from deltalake import DeltaTable
from tests.support.lake.build import DAY, KEY, START, change, event, packed, stripe_event, usage
from tests.support.stores.engine import new_store

from nilometer.aws import clients
from nilometer.aws.dynamodb import Store
from nilometer.domain.store.writes import Table
from nilometer.flows.usage import rebucket
from nilometer.lake.read.query import describe, query
from nilometer.lake.tables.storage import storage_options
from nilometer.lambdas import changes, lake, maintenance
from nilometer.local.plane.counting import CountingProxy
from nilometer.local.plane.engine import Engine


class Context:
    """What the handlers use of Lambda's context."""

    def __init__(self, seconds: float = 120) -> None:
        self._milliseconds = int(seconds * 1000)

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


@pytest.fixture
def uri(aws: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty lake, and the environment that the template gives the functions."""
    forget()
    suffix = uuid.uuid4().hex[:12]
    bucket = f"lake-{suffix}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    boto3.client("events").create_event_bus(Name=f"bus-{suffix}")
    for name in ("STRIPE_EVENTS", "USAGE", "AUDIT"):
        url = boto3.client("sqs").create_queue(QueueName=f"{name}-{suffix}")["QueueUrl"]
        monkeypatch.setenv(f"LAKE_{name}_QUEUE_URL", url)
    monkeypatch.setenv("BUS_NAME", f"bus-{suffix}")
    tables = new_store(boto3.client("dynamodb"))
    for table in Table:
        monkeypatch.setenv(f"{table.upper()}_TABLE", tables._names[table])
    monkeypatch.setenv("LAKE_BUCKET", bucket)
    monkeypatch.setenv("CHANGES_ON_BUS", "all")
    secret = boto3.client("secretsmanager").create_secret(Name=f"audit-{suffix}", SecretString=KEY)
    monkeypatch.setenv("AUDIT_KEY_ARN", secret["ARN"])
    monkeypatch.setenv("LAKE_URI", f"s3://{bucket}/lake")
    yield f"s3://{bucket}/lake"
    forget()


def forget() -> None:
    """What the handlers have of another environment, of this test or of one before."""
    for module in (changes, lake):
        module._dependencies.cache_clear()
    clients.client.cache_clear()


def sqs(*bodies: str) -> dict[str, Any]:
    return {"Records": [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]}


def ask(uri: str, sql: str) -> list[tuple[Any, ...]]:
    return list(query(sql, lake_uri=uri, storage_options=storage_options(os.environ)).rows)


def test_a_batch_lands_in_s3(uri: str) -> None:
    """Rows, changes and nonsense: everything is done with, nothing comes again."""
    bodies = [
        packed("usage", usage("u1")),
        packed("stripe_events", stripe_event("evt_1")),
        event(change("c1")),
        "nonsense",
    ]

    for _ in range(2):
        assert lake.handler(sqs(*bodies), Context()) == {"batchItemFailures": []}

    found = {
        d.name: (d.rows, d.files, d.version)
        for d in describe(lake_uri=uri, storage_options=storage_options(os.environ))
        if d.rows
    }
    assert found == dict.fromkeys(("stripe_events", "usage", "audit"), (1, 1, 1))


def test_a_lonely_event_costs_few_requests(uri: str, aws: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row of a table that is there: its file and the commit are two writes, and nothing is uploaded in parts."""
    assert lake.handler(sqs(packed("usage", usage("u1"))), Context()) == {"batchItemFailures": []}
    lake._dependencies.cache_clear()
    clients.client.cache_clear()
    with CountingProxy(aws.endpoint_url) as proxy, monkeypatch.context() as here:
        here.setenv("AWS_ENDPOINT_URL", proxy.url)
        assert lake.handler(sqs(packed("usage", usage("u2", created=START + 3600))), Context())
        asked = Counter[str]()
        for charge, requests in proxy.counts().charges:
            asked[charge.operation] += requests if charge.service == "s3" else 0

    assert (asked["PUT"], asked["POST"]) == (2, 0)
    assert asked["LIST"] <= 3
    assert asked["GET"] + asked["HEAD"] <= 8
    assert ask(uri, "select count(*) from usage") == [(2,)]


def test_out_of_time_is_delivered_again(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 is away until the end: the messages stay in the queue, and land when it is back."""
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    body = packed("usage", usage("u1"))

    failed = lake.handler(sqs(body), Context(seconds=31))

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    lake._dependencies.cache_clear()
    clients.client.cache_clear()
    assert failed == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert lake.handler(sqs(body), Context()) == {"batchItemFailures": []}
    assert ask(uri, "select count(*) from usage") == [(1,)]


def test_maintenance_works_in_s3(uri: str) -> None:
    """A closed day becomes one file and the rows stay; a workspace whose periods moved was looked at first."""
    tables = {name: os.environ[f"{name.upper()}_TABLE"] for name in ("records", "events")}
    store = Store(boto3.client("dynamodb"), **tables)
    rebucket.mark(store, "ws", since=datetime.now(UTC), billing_version=1, now=datetime.now(UTC) - timedelta(days=4))
    for n in range(4):
        lake.handler(sqs(packed("usage", usage(f"u{n}", created=START - 300 * DAY))), Context())

    report = maintenance.handler({}, Context(seconds=600))

    table = DeltaTable(f"{uri}/usage", storage_options=storage_options(os.environ))
    assert report["workspaces"] == [{"workspace_id": "ws", "moved": 0, "done": True}]
    removed = {one["table"]: one["files_removed"] for one in report["tables"]}
    assert {"stripe_events", "usage", "audit"} <= removed.keys()
    assert {table: files for table, files in removed.items() if files} == {"usage": 4}
    assert len(table.file_uris()) == 1
    assert ask(uri, "select count(*), count(distinct event_id) from usage") == [(4, 4)]


def test_a_stream_goes_on_from_the_first_failure(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer names the lowest record that did not get through."""
    monkeypatch.setenv("BUS_NAME", "nowhere")
    item = {"pk": {"S": "a"}, "sk": {"S": "b"}, "kind": {"S": "billing"}}

    def record(number: str, view: str = "NEW_AND_OLD_IMAGES") -> dict[str, Any]:
        stream = {"Keys": {"pk": item["pk"], "sk": item["sk"]}, "NewImage": item, "SequenceNumber": number}
        stream |= {"ApproximateCreationDateTime": START, "StreamViewType": view}
        return {"eventName": "INSERT", "eventSourceARN": "arn", "dynamodb": stream}

    monkeypatch.setattr("nilometer.aws.eventbridge.Bus._put", lambda _self, entries: entries)

    answer = changes.handler({"Records": [record("1", "NEW_IMAGE"), record("2"), record("3")]}, Context())

    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {}),
        (
            {"AWS_REGION": "eu-central-1", "AWS_SESSION_TOKEN": "t"},
            {"AWS_REGION": "eu-central-1", "AWS_SESSION_TOKEN": "t"},
        ),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"},
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "AWS_ALLOW_HTTP": "true"},
        ),
        ({"AWS_ENDPOINT_URL": "http://example.com"}, {"AWS_ENDPOINT_URL": "http://example.com"}),
        ({"AWS_ENDPOINT_URL": "a", "AWS_ENDPOINT_URL_S3": "b"}, {"AWS_ENDPOINT_URL": "b"}),
    ],
    ids=["nothing", "lambda", "loopback", "elsewhere", "s3 first"],
)
def test_options_come_from_the_environment(environment: dict[str, str], expected: dict[str, str]) -> None:
    """Plain HTTP is for the loopback alone."""
    found = storage_options(environment)

    assert {name: found[name] for name in expected} == expected
    assert ("AWS_ALLOW_HTTP" in found) == ("AWS_ALLOW_HTTP" in expected)
    assert json.dumps(found)
