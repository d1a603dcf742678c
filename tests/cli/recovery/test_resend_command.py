"""One event again, from what the stack has of it: its copy is a duplicate, and nothing changes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from tests.support.command_line import CommandLine, Local

from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key
from nilometer.domain.stripe.event import OWN_ACCOUNT


@pytest.fixture(scope="module")
def workspace(nilometer: CommandLine, stack: Local) -> str:
    name = f"ws_{uuid.uuid4().hex[:8]}"
    assert nilometer("workspace", "create", name).code == 0
    return name


def outcomes(stack: Local, event_id: str) -> list[str]:
    """What the deciding functions said of the event, in order of their files."""
    said = (json.loads(line) for line in log_lines(Path(stack.about["logs"])) if event_id in line)
    return [one["message"] for one in said if one["message"].partition(".")[0] in {"billing", "usage"}]


def log_lines(logs: Path) -> Iterator[str]:
    for file in sorted(logs.glob("*.log")):
        yield from (line for line in file.read_text().splitlines() if line.startswith("{"))


def counted(nilometer: CommandLine, table: str, event_id: str) -> int:
    sql = f"select count(*) as n from {table} where event_id = '{event_id}'"  # noqa: S608  # names of the test
    return int(nilometer("query", sql, "--json").json["n"])


def test_a_stripe_event_comes_again_whole_and_is_a_duplicate(
    nilometer: CommandLine, stack: Local, workspace: str
) -> None:
    """From its fact, not from the redacted lake; billing and the lake stay as they were."""
    sent = nilometer("trigger", "customer.subscription.created", "--workspace", workspace, "--json").json
    assert nilometer("wait").code == 0
    before = nilometer("billing", "show", workspace, "--json").json

    answer = nilometer("resend", sent["id"], "--json")
    assert nilometer("wait").code == 0

    assert answer.json == {"event": sent["id"], "by": "webhook", "expected": "duplicate"}
    assert outcomes(stack, sent["id"]) == ["billing.accepted", "billing.duplicate"]
    assert nilometer("billing", "show", workspace, "--json").json == before
    assert counted(nilometer, "stripe_events", sent["id"]) == 1


def test_usage_comes_again_and_counts_once(nilometer: CommandLine, stack: Local, workspace: str) -> None:
    """By its id alone, over the bus, as it was."""
    event_id = f"u_{workspace}"
    line = "usage", "send", "--workspace", workspace, "--meter", "api_calls", "--quantity", "5", "--id", event_id
    assert nilometer(*line).code == 0
    assert nilometer("wait").code == 0

    answer = nilometer("resend", event_id)
    assert nilometer("wait").code == 0

    assert (answer.code, "it is a duplicate" in answer.err) == (0, True)
    assert outcomes(stack, event_id) == ["usage.accepted", "usage.duplicate"]
    meters = nilometer("usage", "show", workspace, "--json").json["meters"]
    assert [one["used"] for one in meters if one["count"]] == ["5"]
    assert counted(nilometer, "usage", event_id) == 1


def test_what_the_stack_has_not_whole_is_refused(nilometer: CommandLine, stack: Local, workspace: str) -> None:
    """A Stripe event without its fact: the lake's redacted copy would do harm. The cure is named."""
    sent = nilometer("trigger", "customer.updated", "--workspace", workspace, "--json").json
    assert nilometer("wait").code == 0
    forget(stack, keys.stripe_event(OWN_ACCOUNT, sent["id"]))

    answer = nilometer("resend", sent["id"])

    assert answer.code == 1
    assert "the lake keeps the event redacted" in answer.err
    assert "nilometer backfill events" in answer.err


def forget(stack: Local, key: Key) -> None:
    """As TTL does after forty days."""
    tables = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test").client(
        "dynamodb", endpoint_url=stack.about["aws_endpoint_url"], region_name=stack.about["region"]
    )
    tables.delete_item(TableName=stack.about["events_table"], Key={"pk": {"S": key.pk}, "sk": {"S": key.sk}})


def test_an_unknown_event_says_where_to_look(nilometer: CommandLine, stack: Local) -> None:
    """Exit code 1, one sentence, nothing is sent."""
    answer = nilometer("resend", "evt_nobody")

    assert (answer.code, answer.out) == (1, "")
    assert "neither tables nor lake have evt_nobody; `nilometer trace evt_nobody`" in answer.err
