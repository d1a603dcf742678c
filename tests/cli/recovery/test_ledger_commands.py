"""History, verification, recipes and upkeep, as an operator types them."""

from __future__ import annotations

import json
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest


@pytest.fixture(scope="module")
def renamed(nilometer: Any, stack: Any) -> str:
    """A workspace with one counted event."""
    name = f"ws_{uuid.uuid4().hex[:8]}"
    nilometer("workspace", "create", name, "--name", "Before")
    nilometer("usage", "send", "--workspace", name, "--meter", "api_calls", "--quantity", "7")
    assert nilometer("wait").code == 0
    return name


def test_history_tells_the_changes_of_a_record(nilometer: Any, renamed: str) -> None:
    """From the audit alone, oldest first."""
    [inserted, *_] = nilometer("history", "show", "workspace", renamed, "--json").lines

    assert (inserted["action"], inserted["sk"]) == ("INSERT", "WORKSPACE")
    assert inserted["changed"]["workspace_id"] == {"before": None, "after": renamed}


def test_history_as_of_a_time(nilometer: Any, renamed: str) -> None:
    """What the record was then; nothing before it was."""
    now = datetime.now(UTC).isoformat()

    assert nilometer("history", "show", "workspace", renamed, "--as-of", now).json["workspace_id"] == renamed
    assert nilometer("history", "show", "workspace", renamed, "--as-of", "2020-01-01").out == ""


def test_history_of_a_wrong_kind_names_the_kinds(nilometer: Any, renamed: str) -> None:
    """A usage error (2), and no empty table; under --json an object."""
    for_people = nilometer("history", "show", "bilings", renamed)
    for_machines = nilometer("history", "show", "bilings", renamed, "--json")

    assert (for_people.code, for_people.out) == (2, "")
    assert "no record is of the kind 'bilings'; the audit has" in for_people.err
    assert {"counter", "workspace"} <= set(re.findall(r"\w+", for_people.err))
    assert (for_machines.code, for_machines.out, json.loads(for_machines.err)["error"]) == (2, "", "usage")


def test_history_for_people(nilometer: Any, renamed: str) -> None:
    """A line a change, with what it changed."""
    assert "INSERT WORKSPACE" in nilometer("history", "show", "workspace", renamed, "--diff").out


def test_verify_finds_the_lake_equal_and_then_a_difference(nilometer: Any, stack: Any, renamed: str) -> None:
    """Exit code 3 when a counter is not the sum of its events."""
    assert nilometer("verify", "counters", "--grace", "0").code == 0
    tables = boto3.client(
        "dynamodb",
        endpoint_url=stack.about["aws_endpoint_url"],
        region_name=stack.about["region"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    found = tables.query(
        TableName=stack.about["records_table"],
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={":pk": {"S": f"WORKSPACE#{renamed}"}, ":sk": {"S": "USAGE#api_calls#20"}},
    )["Items"][0]

    def add(total: str) -> None:
        tables.update_item(
            TableName=stack.about["records_table"],
            Key={"pk": found["pk"], "sk": found["sk"]},
            UpdateExpression="ADD #total :by",
            ExpressionAttributeNames={"#total": "total"},
            ExpressionAttributeValues={":by": {"N": total}},
        )

    add("1")
    answer = nilometer("verify", "counters", "--grace", "0", "--json")
    add("-1")

    assert answer.code == 3
    assert answer.json["different"] == 1


def test_verify_finds_every_step_of_the_audit_allowed(alone: Any) -> None:
    """All that these commands did, judged row by row; a CHECK that is named comes with it. Fifteen digits before the
    point and nine after it are the same in the record, on the bus, in the audit and in what is compared.

    On a stack of its own: a test above writes into the table of the other one by hand, which is no step.
    """
    running = alone.local()
    send = ("usage", "send", "--workspace", "acme", "--meter", "api_calls", "--quantity")
    try:
        for command in (
            ("workspace", "create", "acme", "--admin", "ada"),
            ("workspace", "update", "acme", "--name", "Acme"),
            (*send, "123456789012345.123456788"),
            (*send, "0.000000001"),
            ("wait",),
        ):
            assert alone(*command).code == 0
        checks = ("records", "counters", "usage_events")
        answer = alone("verify", *checks, "--steps", "--grace", "0", "--json")
        [meter] = alone("usage", "show", "acme", "--json").json["meters"]
        told = alone("query", "select sum(quantity)::varchar as quantity from usage", "--json").json
    finally:
        running.stop()

    assert answer.code == 0, answer.out
    assert [(line["check"], line["different"]) for line in answer.lines] == [(name, 0) for name in (*checks, "steps")]
    assert all(line["compared"] > 0 for line in answer.lines)
    assert meter["used"] == told["quantity"] == "123456789012345.123456789"


def test_recipes_answer(nilometer: Any, renamed: str) -> None:
    """By name, with times."""
    assert "usage-per-day" in [recipe["name"] for recipe in nilometer("recipes", "--json").lines]

    rows = nilometer("query", "--recipe", "usage-per-day", "--since", "2020-01-01", "--json").lines

    assert [row["quantity"] for row in rows if row["workspace_id"] == renamed] == ["7.000000000"]


@pytest.mark.parametrize("arguments", [(), ("select 1", "--recipe", "twice"), ("--recipe", "none")])
def test_sql_or_a_recipe_is_needed(nilometer: Any, stack: Any, arguments: tuple[str, ...]) -> None:
    """One of them, and one that exists."""
    assert nilometer("query", *arguments).code == 2


def test_upkeep_shows_what_it_would_do(nilometer: Any, renamed: str) -> None:
    """A dry run reports each table and changes none; what the tests before it changed has landed."""
    while datetime.now(UTC).minute in {19, 20}:
        time.sleep(1)  # the stack's own upkeep begins at twenty past
    assert nilometer("wait").code == 0
    before = nilometer("tables", "--json").lines
    reports = nilometer("tables", "optimize", "--dry-run", "--json").lines

    assert {report["table"] for report in reports} >= {"stripe_events", "usage", "audit"}
    assert nilometer("tables", "--json").lines == before


def test_a_forged_change_never_becomes_history(nilometer: Any, stack: Any, renamed: str) -> None:
    """Whoever may put events on the bus says that a record changed: a reject, while the relay's own change lands."""
    forged = {
        "change_id": uuid.uuid4().hex,
        "table_name": "records",
        "kind": "membership",
        "pk": f"WORKSPACE#{renamed}",
        "sk": "MEMBER#mallory",
        "workspace_id": renamed,
        "action": "INSERT",
        "changed_fields": ["role"],
        "old_image": None,
        "new_image": {"role": "Admin"},
        "sequence_number": "9" * 40,
        "occurred_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "created": int(datetime.now(UTC).timestamp()),
        "proof": "1.00000000." + "0" * 32,
    }
    event = {"specversion": "1.0", "id": forged["change_id"], "type": "record.changed.v1", "data": forged}
    entry = {"Source": "nilometer.changes", "DetailType": "record.changed.v1", "Detail": json.dumps(event)}
    where = {"endpoint_url": stack.about["aws_endpoint_url"], "region_name": stack.about["region"]}
    bus = boto3.client("events", aws_access_key_id="test", aws_secret_access_key="test", **where)
    bus.put_events(Entries=[entry | {"EventBusName": stack.about["bus"]}])
    nilometer("workspace", "update", renamed, "--name", "After")
    assert nilometer("wait").code == 0

    assert nilometer("history", "show", "membership", renamed, "--json").lines == []
    origin = nilometer("verify", "origin", "--json")
    assert (origin.code, origin.json["different"]) == (0, 0)
    assert origin.json["compared"] > 1
