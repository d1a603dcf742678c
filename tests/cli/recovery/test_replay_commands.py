"""Events again, from EventBridge's archive and from the lake: what the tables lost comes back, nothing counts twice."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from tests.support.command_line import CommandLine, Local

LONG_AGO = (datetime.now(UTC) - timedelta(days=80)).isoformat()


def client(running: Local, service: str) -> Any:
    return boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test").client(  # type: ignore[call-overload]
        service, endpoint_url=running.about["aws_endpoint_url"], region_name=running.about["region"]
    )


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def running(line: CommandLine) -> Iterator[Local]:
    """A stack whose bus has an archive, which the local template leaves out: the engine's API can make one."""
    stack = line.local()
    events = client(stack, "events")
    bus = events.describe_event_bus(Name=stack.about["bus"])["Arn"]
    events.create_archive(ArchiveName="everything", EventSourceArn=bus, RetentionDays=90)
    yield stack
    assert stack.stop()[0] == 0


@pytest.fixture
def workspace(line: CommandLine, running: Local) -> str:
    """With a counted event and a subscription."""
    name = f"ws_{uuid.uuid4().hex[:8]}"
    assert line("workspace", "create", name).code == 0
    assert line("trigger", "customer.subscription.created", "--workspace", name).code == 0
    send = "usage", "send", "--workspace", name, "--meter", "api_calls", "--quantity", "5", "--id", f"u_{name}"
    assert line(*send).code == 0
    assert line("wait").code == 0
    return name


def used(line: CommandLine, workspace: str) -> list[str]:
    meters = line("usage", "show", workspace, "--json").json["meters"]
    return [meter["used"] for meter in meters if meter["meter"] == "api_calls" and meter["count"]]


def lose(running: Local, workspace: str) -> None:
    """The workspace's usage in the tables, as when they are restored to a time before it."""
    tables = client(running, "dynamodb")
    found = tables.query(
        TableName=running.about["records_table"],
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={":pk": {"S": f"WORKSPACE#{workspace}"}, ":sk": {"S": "USAGE#"}},
    )["Items"]
    for item in found:
        tables.delete_item(TableName=running.about["records_table"], Key={"pk": item["pk"], "sk": item["sk"]})
    fact = {"pk": {"S": f"USAGE#/nilometer/cli#u_{workspace}"}, "sk": {"S": "FACT"}}
    tables.delete_item(TableName=running.about["events_table"], Key=fact)


def replays(running: Local) -> list[Any]:
    events = client(running, "events")
    return [events.describe_replay(ReplayName=one["ReplayName"]) for one in events.list_replays()["Replays"]]


def test_the_archive_brings_back_what_was_lost_and_counts_nothing_twice(
    line: CommandLine, running: Local, workspace: str
) -> None:
    """Each flow from its own archive through its own rule; the billing record stays, the lake has each row once."""
    billing = line("billing", "show", workspace, "--json").json
    lose(running, workspace)
    before = used(line, workspace)

    answer = line("replay", "archive", "--since", LONG_AGO, "--yes", "--json")
    assert line("wait").code == 0
    once = used(line, workspace)
    assert line("replay", "archive", "--since", LONG_AGO, "--yes").code == 0
    assert line("wait").code == 0

    assert (before, once, used(line, workspace)) == ([], ["5"], ["5"])
    assert answer.code == 0
    assert [row["state"] for row in answer.lines] == ["COMPLETED"] * 3
    assert line("billing", "show", workspace, "--json").json == billing
    sql = f"select count(*) as n from usage where event_id = 'u_{workspace}'"  # noqa: S608  # an id of the test
    assert line("query", sql, "--json").json == {"n": 1}
    filters = {one["Destination"]["FilterArns"][0].rpartition("-")[0].rpartition("-")[2] for one in replays(running)}
    assert filters == {"BillingRule", "UsageRule", "OperationsRule"}


def test_a_flow_is_given_no_more_than_it_can_tell(line: CommandLine, running: Local, workspace: str) -> None:
    """Said, with the reason; a dry run starts nothing, and nobody can be asked here."""
    started = len(replays(running))

    dry = line("replay", "archive", "--since", LONG_AGO, "--dry-run", "--json")
    unasked = line("replay", "archive", "--since", LONG_AGO)

    since = {row["replay"].split("-")[0]: datetime.fromisoformat(row["since"]) for row in dry.lines}
    now = datetime.now(UTC)
    assert [(now - since[flow]).days for flow in ("billing", "usage", "operations")] == [80, 34, 39]
    assert "older usage is refused as too_old" in dry.err
    assert "older ones would be done again" in dry.err
    assert [row["archived"] > 0 for row in dry.lines] == [True] * 3
    assert (unasked.code, "everything" in unasked.out) == (2, True)
    assert "add --yes" in unasked.err
    assert len(replays(running)) == started


def test_a_flow_can_be_chosen(line: CommandLine, running: Local) -> None:
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()

    rows = line("replay", "archive", "--since", since, "--flow", "billing", "--dry-run", "--json").lines

    assert [row["replay"].split("-")[0] for row in rows] == ["billing"]


def test_without_an_archive_it_says_what_else_there_is(nilometer: CommandLine, stack: Local) -> None:
    """As on one machine."""
    answer = nilometer("replay", "archive", "--since", LONG_AGO)

    assert answer.code == 1
    assert "has no archive; see `nilometer replay lake`" in answer.err


def test_the_lake_brings_back_usage(line: CommandLine, running: Local, workspace: str) -> None:
    """First counted, then published; a second time there is nothing to do."""
    since = "--since", (datetime.now(UTC) - timedelta(hours=1)).isoformat(), "--workspace", workspace
    lose(running, workspace)

    dry = line("replay", "lake", "usage", *since, "--dry-run", "--json").json
    unasked = line("replay", "lake", "usage", *since)
    done = line("replay", "lake", "usage", *since, "--yes", "--json").json
    assert line("wait").code == 0
    again = line("replay", "lake", "usage", *since, "--yes")

    counted = {"rows": 1, "too_old": 0, "missing": 1}
    assert dry == {**counted, "published": 0, "dry_run": True}
    assert (unasked.code, "1 usage events that no fact knows" in unasked.err) == (2, True)
    assert done == {**counted, "published": 1, "dry_run": False}
    assert used(line, workspace) == ["5"]
    assert "1 rows, 0 without a fact, 0 published" in again.err
    assert line("verify", "counters", "--grace", "0").code == 0


def test_redacted_stripe_events_are_not_sent_again(line: CommandLine, running: Local) -> None:
    """With what to use in their place."""
    answer = line("replay", "lake", "stripe_events", "--since", LONG_AGO)

    assert answer.code == 1
    assert "nilometer backfill" in answer.err


@pytest.mark.parametrize("source", [["archive"], ["lake", "usage"]], ids=" ".join)
def test_a_span_must_be_named(line: CommandLine, running: Local, source: list[str]) -> None:
    """Nothing is replayed by mistake."""
    assert line("replay", *source).code == 2


def test_the_word_file_may_be_left_out(line: CommandLine, running: Local) -> None:
    """`nilometer replay FILE`, as ever."""
    wrong = json.dumps({"object": "charge"})

    for words in ([], ["file"]):
        assert "not a Stripe event" in line("replay", *words, "-", text=wrong).err
