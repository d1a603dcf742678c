"""What was written carries on: under the next release, and in a stack that adopts restored tables. On a real engine.

The release before wrote it with its own code under its own template; only its libraries are today's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from tests.support.cloudformation import Template
from tests.support.project import HERE, ROOT, Build
from tests.support.stack.proof.production import (
    ADMINISTRATOR,
    Production,
    accepted,
    client,
    deploy,
    deployed,
    enforcing_engine,
    until,
)
from tests.support.stack.release import built_before

from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.keys import LISTED
from nilometer.domain.store.lists import SETTLES
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Table
from nilometer.flows.people.listing import complete_lists

STACK, AGAIN = "nilometer-prod", "nilometer-again"
BEFORE = {"Stage": "prod", "Architecture": HERE, "ArchiveDays": "0", "Canary": "false"}
NOW = {**BEFORE, "RatioAlarms": "false", "Monitoring": "none"}
TABLES = ("RecordsTable", "EventsTable")
STATE = (*TABLES, "LakeBucket", "Bus", "StripeSigningSecrets", "Api")
FACTS = "select event_id from usage order by 1"
ASKED = ("--config-env", "prod", "--no-confirm-changeset", "--stack-name")
TIME = rfc3339(datetime.now(UTC))  # of all usage: in one period, also where a month ends meanwhile

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an engine with nothing in it."""
    with enforcing_engine(tmp_path_factory.mktemp("account")) as endpoint_url:
        yield endpoint_url


@pytest.fixture(scope="module")
def release(build: Build, sam: Path, project: Path, account: str) -> Callable[..., Production]:
    """`sam deploy` of what is built, or of what was."""

    def released(stack: str, parameters: Mapping[str, str], built: Path | None = None, **given: Any) -> Production:
        deploy(account, built or build(HERE), sam, project, parameters, *ASKED, stack)
        return deployed(account, stack, **given)

    return released


@pytest.fixture(scope="module")
def before(
    release: Callable[..., Production],
    build: Build,
    samples: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Production:
    """The last release with a subscription, a workspace, a meter and usage, all of it in its lake."""
    stack = release(STACK, BEFORE, built_before(build(HERE), tmp_path_factory.mktemp("before")))
    status, _ = stack.post(webhook(samples), secret="whsec_of_the_proof_of_deployment")
    assert status == 200
    for event in opened(samples):
        stack.publish(event)
    until(lambda: {event["id"] for event in opened(samples)} <= accepted(stack, "OperationsFunction"))
    stack.publish(use(samples, "before"))
    until(lambda: stack.rows(FACTS) == [("before",)])
    until(lambda: stack.rows("select event_id from stripe_events"))
    return stack


@pytest.fixture(scope="module")
def upgraded(release: Callable[..., Production], before: Production) -> Production:
    """This release, over it."""
    return release(STACK, NOW, secret=None)


def webhook(samples: dict[str, Any]) -> bytes:
    return json.dumps(samples["stripe/customer.subscription.created.json"]).encode()


def opened(samples: dict[str, Any]) -> list[dict[str, Any]]:
    """A workspace and a meter."""
    now = rfc3339(datetime.now(UTC))
    usage = samples["usage/usage.recorded.v1.json"]["detail"]
    workspace = samples["operations/workspace.created.v1.json"]["detail"]
    meter = samples["operations/meter.created.v1.json"]["detail"]
    return [{**workspace, "subject": usage["subject"], "time": now}, {**meter, "id": "of_the_meter", "time": now}]


def use(samples: dict[str, Any], id_: str) -> dict[str, Any]:
    """Usage of ten."""
    usage = samples["usage/usage.recorded.v1.json"]["detail"]
    meter = samples["operations/meter.created.v1.json"]["detail"]["data"]
    data = {**usage["data"], "meter": meter["meter"], "unit": meter["unit"], "quantity": "10"}
    return {**usage, "id": id_, "time": TIME, "data": data}


def counted(stack: Production) -> set[str]:
    """The totals of billing periods."""
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.ids["RecordsTable"])
    found = [item for page in pages for item in page["Items"] if item.get("kind", {}).get("S") == "counter"]
    return {item["total"]["N"] for item in found if item["scope"]["S"] == "period"}


def nilometer(stack: Production, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **ADMINISTRATOR, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": stack.endpoint_url}
    command = [sys.executable, "-m", "nilometer", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_next_release_replaces_nothing_that_keeps_state(before: Production, upgraded: Production) -> None:
    """Tables, bucket, bus, secret and API are the same ones, and so is each queue."""
    kept = {name: id_ for name, id_ in before.ids.items() if name in STATE or name.endswith(("Queue", "DeadLetters"))}

    assert {name: upgraded.ids[name] for name in kept} == kept


def test_the_next_release_goes_on_from_what_was_written(upgraded: Production, samples: dict[str, Any]) -> None:
    """An event of before is a duplicate, a new one counts on, and lake and tables are equal."""
    status, _ = upgraded.post(webhook(samples), secret="whsec_of_the_proof_of_deployment")
    upgraded.publish(use(samples, "before"))
    upgraded.publish(use(samples, "after"))

    assert status == 200
    assert until(lambda: len(upgraded.rows(FACTS)) > 1 and upgraded.rows(FACTS)) == [("after",), ("before",)]
    assert counted(upgraded) == {"20"}
    assert len(upgraded.rows("select event_id from stripe_events")) == 1
    verified = nilometer(upgraded, "verify", "counters", "--stack", STACK, "--grace", "0")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_lists_find_what_was_written_before(upgraded: Production) -> None:
    """By the table at first; a pass over it puts all into the index that the deployment added."""
    names = {"records": upgraded.ids["RecordsTable"], "events": upgraded.ids["EventsTable"]}
    store, now = Store(upgraded.client("dynamodb"), **names), datetime.now(UTC)
    scanned = {item["pk"] for kind in LISTED for item in store.scan(Table.RECORDS, kind=kind)}
    store.delete_all(Table.EVENTS, [keys.LISTS])
    complete_lists(store, now=now - SETTLES)
    assert not store.has_lists()

    complete_lists(store, now=now)

    assert store.has_lists()
    assert scanned
    assert {item["pk"] for kind in LISTED for item in store.every(kind)} == scanned


@pytest.fixture(scope="module")
def adopted(
    release: Callable[..., Production], upgraded: Production, account: str, record_testsuite_property: Any
) -> Production:
    """Both tables restored to a time before, the lake copied, and a stack that was imported around them: runs."""
    begun = time.monotonic()
    dynamodb, cloudformation = client(account, "dynamodb"), client(account, "cloudformation")
    names = {table: f"{upgraded.ids[table]}-restored" for table in TABLES}
    parameters = {f"{table}Name": name for table, name in names.items()}
    for table, name in names.items():
        source = {"SourceTableName": upgraded.ids[table], "UseLatestRestorableTime": True}
        dynamodb.restore_table_to_point_in_time(TargetTableName=name, **source)
    cloudformation.create_change_set(
        StackName=AGAIN,
        ChangeSetName="adopt",
        ChangeSetType="IMPORT",
        TemplateBody=(ROOT / "adopt.yaml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        ResourcesToImport=[
            {"ResourceType": "AWS::DynamoDB::Table", "LogicalResourceId": n, "ResourceIdentifier": {"TableName": id_}}
            for n, id_ in names.items()
        ],
    )
    cloudformation.get_waiter("change_set_create_complete").wait(StackName=AGAIN, ChangeSetName="adopt")
    cloudformation.execute_change_set(StackName=AGAIN, ChangeSetName="adopt")
    cloudformation.get_waiter("stack_import_complete").wait(StackName=AGAIN)
    stack = release(AGAIN, {**NOW, **parameters})
    s3 = client(account, "s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=upgraded.ids["LakeBucket"], Prefix="lake/"):
        for one in page["Contents"]:
            source = {"Bucket": upgraded.ids["LakeBucket"], "Key": one["Key"]}
            s3.copy_object(Bucket=stack.ids["LakeBucket"], Key=one["Key"], CopySource=source)
    record_testsuite_property("restored_after_seconds", round(time.monotonic() - begun))
    return stack


def test_a_stack_adopts_restored_tables(upgraded: Production, adopted: Production) -> None:
    """They are its tables, with the streams of the template; nothing was copied item by item."""
    for name in TABLES:
        assert adopted.ids[name] == f"{upgraded.ids[name]}-restored"
        described = adopted.client("dynamodb").describe_table(TableName=adopted.ids[name])["Table"]
        assert described["StreamSpecification"]["StreamEnabled"]


def test_a_restored_stack_runs(upgraded: Production, adopted: Production, samples: dict[str, Any]) -> None:
    """What was counted before is a duplicate there, something new counts on and reaches the lake that was copied."""
    adopted.publish(use(samples, "before"))
    adopted.publish(use(samples, "restored"))

    wanted = [("after",), ("before",), ("restored",)]
    assert until(lambda: len(adopted.rows(FACTS)) > 2 and adopted.rows(FACTS)) == wanted
    assert counted(adopted) == {"30"}
    assert counted(upgraded) == {"20"}


def test_what_is_adopted_has_the_keys_of_the_template(template: Template) -> None:
    """An import with other keys would be replaced by the next deployment."""
    body = Template(cfn_yaml.load(str(ROOT / "adopt.yaml")))
    for name, table in body.of("AWS::DynamoDB::Table").items():
        made = template.of("AWS::DynamoDB::Table")[name]
        assert {key: made[key] for key in table if key != "TableName"} == {
            key: said for key, said in table.items() if key != "TableName"
        }
        assert table["SSESpecification"] == made["SSESpecification"]  # as restored
        assert made["TableName"]["Fn::If"][1] == table["TableName"] == {"Ref": f"{name}Name"}
        policies = ("DeletionPolicy", "UpdateReplacePolicy")
        assert {p: body.resources[name][p] for p in policies} == {p: template.resources[name][p] for p in policies}
