"""`nilometer rebuild` counts, and writes into a table that is not the stack's own."""

from __future__ import annotations

import json
import time
import uuid
from types import SimpleNamespace
from typing import Any

import boto3
import click
import pytest
from tests.support.lake.build import NOW, change, proven

from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import AuditKeys
from nilometer.cli.recovery.rebuild import _target
from nilometer.domain.lake.tables import AUDIT
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode

ASKED = ("--as-of", "2020-01-01T00:00:01Z")
THEN = 1_577_836_800  # 2020-01-01T00:00:00Z


def client_of(stack: Any, service: str) -> Any:
    return boto3.session.Session().client(  # type: ignore[call-overload]
        service,
        endpoint_url=stack.about["aws_endpoint_url"],
        region_name=stack.about["region"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def signing_key(stack: Any) -> str:
    """That by which the relay of the stack proves its rows."""
    asked = {"StackName": stack.about["stack_name"], "LogicalResourceId": "AuditKey"}
    arn = client_of(stack, "cloudformation").describe_stack_resource(**asked)["StackResourceDetail"][
        "PhysicalResourceId"
    ]
    return AuditKeys.stored(client_of(stack, "secretsmanager"), arn=arn).current()[0]


@pytest.fixture(scope="module")
def past(stack: Any) -> Any:
    """The stack's lake, with the changes of a record that existed for one minute, long ago."""
    image = {"pk": "WORKSPACE#long_ago", "sk": "BILLING", "kind": "billing", "version": 1}
    about = stack.about
    environment = {"AWS_ENDPOINT_URL": about["aws_endpoint_url"], "AWS_REGION": about["region"]}
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    rows = [
        change("long-ago-1", created=THEN, pk=image["pk"], new_image=image),
        change("long-ago-2", created=THEN + 60, pk=image["pk"], action="REMOVE", sequence_number="2", new_image=None),
    ]
    files = Objects(client_of(stack, "s3"), bucket=about["lake_uri"].split("/")[2])
    Lake(uri=about["lake_uri"], storage_options=storage_options(environment | keys), files=files).append(
        AUDIT,
        decode(AUDIT, json.dumps([proven(row, key=signing_key(stack)) for row in rows]).encode()),
        recorded_at=NOW,
        deadline=time.monotonic() + 30,
    )
    return stack


@pytest.fixture
def empty_table(stack: Any) -> str:
    name = f"rebuilt-{uuid.uuid4().hex[:8]}"
    client = client_of(stack, "dynamodb")
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    return name


def test_without_a_table_it_is_a_dry_run(nilometer: Any, past: Any) -> None:
    answer = nilometer("rebuild", *ASKED, "--json").json

    assert (answer["into"], answer["records"], answer["written"]) == (None, 1, 0)


def test_into_a_table(nilometer: Any, past: Any, empty_table: str) -> None:
    """What existed then is written."""
    answer = nilometer("rebuild", *ASKED, "--into", empty_table, "--yes", "--json").json

    assert (answer["into"], answer["records"], answer["written"]) == (empty_table, 1, 1)


def test_the_stacks_own_table_is_refused(nilometer: Any, stack: Any) -> None:
    answer = nilometer("rebuild", *ASKED, "--into", stack.about["records_table"], "--yes")

    assert answer.code == 2
    assert "own table" in answer.err


def test_it_asks_first(nilometer: Any, empty_table: str) -> None:
    answer = nilometer("rebuild", *ASKED, "--into", empty_table)

    assert answer.code == 2
    assert "--yes" in answer.err


def test_a_table_that_is_not_there_is_a_sentence(nilometer: Any, stack: Any) -> None:
    answer = nilometer("rebuild", *ASKED, "--into", "nowhere", "--yes")

    assert answer.code == 1
    assert "Traceback" not in answer.err


def test_the_stacks_own_table_is_refused_by_its_arn_too(nilometer: Any, stack: Any) -> None:
    """DynamoDB takes one wherever it takes a name."""
    client = client_of(stack, "dynamodb")
    arn = client.describe_table(TableName=stack.about["records_table"])["Table"]["TableArn"]

    answer = nilometer("rebuild", *ASKED, "--into", arn, "--resume", "--yes")

    assert answer.code == 2
    assert "own table" in answer.err


OWN = "arn:aws:dynamodb:eu-west-1:111111111111:table/records"
ELSEWHERE = [OWN.replace("1" * 12, "2" * 12), OWN.replace("eu-west-1", "us-east-1")]


class _Tables:
    """DynamoDB's description of tables, by name and by ARN."""

    def client(self, _: str) -> _Tables:
        return self

    def describe_table(self, *, TableName: str) -> dict[str, Any]:  # noqa: N803  # boto3's name
        arn = TableName if TableName.startswith("arn:") else f"{OWN.rpartition('/')[0]}/{TableName}"
        return {"Table": {"TableName": arn.rpartition("/")[2], "TableArn": arn}}

    @property
    def description(self) -> Any:
        return SimpleNamespace(records_table="records", events_table="events")


def test_a_table_of_the_same_name_elsewhere_is_another() -> None:
    """Two stages have the same names, each in an AWS account of its own: what was restored in the one is copied into
    the other."""
    tables: Any = _Tables()
    assert [_target(tables, arn) for arn in ELSEWHERE] == ELSEWHERE
    for own in (OWN, "records", "events"):
        with pytest.raises(click.UsageError, match="own table"):
            _target(tables, own)


def test_restored_tables_are_not_exchanged(nilometer: Any, stack: Any, empty_table: str) -> None:
    """Facts would become records, and records facts, of a running stack."""
    records = f"restored-{uuid.uuid4().hex[:8]}"
    names = {"IndexName": "gsi1", "Projection": {"ProjectionType": "ALL"}}
    keys = [{"AttributeName": "gsi1pk", "KeyType": "HASH"}, {"AttributeName": "gsi1sk", "KeyType": "RANGE"}]
    client_of(stack, "dynamodb").create_table(
        TableName=records,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk", "gsi1pk", "gsi1sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[{**names, "KeySchema": keys}],
    )

    exchanged = nilometer("restore", "--records", empty_table, "--events", records, "--dry-run")
    right = nilometer("restore", "--records", records, "--events", empty_table, "--dry-run", "--json")

    assert (exchanged.code, right.code) == (2, 0)
    assert "exchange the two names" in exchanged.err
