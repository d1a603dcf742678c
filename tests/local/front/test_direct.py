"""The short way and the whole way of the engine answer the same."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nilometer.local.plane.engine import engine

AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request"
CALLS = [
    ("dynamodb", "DynamoDB_20120810.ListTables", {}),
    ("dynamodb", "DynamoDB_20120810.GetItem", {"TableName": "none", "Key": {"pk": {"S": "a"}}}),
    ("dynamodb", "DynamoDB_20120810.NoSuchOperation", {}),
    ("sqs", "AmazonSQS.ListQueues", {}),
    ("sqs", "AmazonSQS.GetQueueUrl", {"QueueName": "none"}),
    ("events", "AWSEvents.ListRules", {}),
    ("events", "AWSEvents.PutEvents", {"Entries": []}),
    ("secretsmanager", "secretsmanager.GetSecretValue", {"SecretId": "none"}),
    ("dynamodb", "DynamoDBStreams_20120810.ListStreams", {}),
]


@pytest.fixture(scope="module")
def netloc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data: Path = tmp_path_factory.mktemp("engine")
    with engine(port=0, data=data, log=data / "log") as running:
        yield running.endpoint_url.removeprefix("http://")


@pytest.mark.parametrize(("service", "target", "body"), CALLS, ids=str)
def test_both_ways_answer_the_same(netloc: str, service: str, target: str, body: dict[str, object]) -> None:
    """A request to another name takes the whole way, whose answer says to browsers what they may read."""
    short, whole = (ask(netloc, host, service, target, body) for host in (netloc, "aws.localhost"))

    for_browsers = [name for name in whole[2] if name.startswith("access-control-")]
    assert for_browsers
    assert short == (*whole[:2], [name for name in whole[2] if name not in for_browsers])


def test_a_browser_is_told_what_it_may_read(netloc: str) -> None:
    """The page of an example may ask the engine."""
    _, _, names = ask(netloc, netloc, *CALLS[0], Origin="http://127.0.0.1:9000")

    assert "access-control-allow-origin" in names


def ask(netloc: str, host: str, service: str, target: str, body: object, **more: str) -> tuple[int, bytes, list[str]]:
    connection = http.client.HTTPConnection(netloc, timeout=30)
    headers = {
        "Host": host,
        "Authorization": AUTHORIZATION.format(service=service),
        "X-Amz-Target": target,
        "Content-Type": "application/x-amz-json-1.1",
        **more,
    }
    connection.request("POST", "/", json.dumps(body).encode(), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, sorted(name.lower() for name, _ in answer.getheaders())
