"""What holds for every command: help, exit codes, errors, and which stack it finds."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import click
import pytest
from tests.support.command_line import leaves

from nilometer.cli.program import cli

HEAVY = {"boto3", "duckdb", "pyarrow", "deltalake", "rich", "stripe"}


ALL = sorted(leaves())
ON_A_STACK = [
    ["status"],
    ["wait"],
    ["trigger", "invoice.paid"],
    ["replay", "-"],
    ["usage", "send", "--workspace", "w", "--meter", "m", "--quantity", "1"],
    ["usage", "show", "w"],
    ["billing", "list"],
    ["billing", "objects"],
    ["workspace", "create", "w"],
    ["workspace", "list"],
    ["workspace", "show", "w"],
    ["member", "list", "w"],
    ["invite", "accept", "--user", "u", "--email", "e@x.y"],
    ["session", "check"],
    ["security", "log", "w"],
    ["notification", "count", "w", "u"],
    ["policy", "list"],
    ["flag", "list"],
    ["datasets", "list"],
    ["meter", "create", "m", "--unit", "u", "--aggregation", "sum"],
    ["query", "select 1"],
    ["tables"],
]


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_has_an_example(nilometer: Any, path: tuple[str, ...]) -> None:
    """Of the command itself."""
    answer = nilometer(*path, "--help")

    assert answer.code == 0
    assert f"nilometer {' '.join(path)}" in answer.out.partition("Example")[2]


@pytest.mark.parametrize("group", ["", *sorted({path[0] for path in ALL})])
def test_help_imports_nothing_heavy(group: str) -> None:
    """So that it takes a tenth of a second; of all commands none is loaded, of a group its own."""
    code = (
        "import sys; from nilometer.cli import run; run([word for word in [sys.argv[1], '--help'] if word]); "
        "print(*{n.partition('.')[0] for n in sys.modules}); "
        "print(sum(name.startswith('nilometer.cli.') and 'terminal' not in name for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, group], capture_output=True, text=True, check=True)
    *_, modules, commands = done.stdout.splitlines()

    assert not HEAVY & set(modules.split())
    assert group or int(commands) == 1


def test_the_summaries_of_the_table_are_the_commands_own() -> None:
    """`nilometer --help` says what the command itself says first."""
    context = click.Context(cli)
    for _, rows in cli.sections(context):
        for name, summary in rows:
            command = cli.get_command(context, name)
            assert command is not None
            assert command.get_short_help_str(1_000) == summary


def test_the_help_shows_every_summary_whole(nilometer: Any) -> None:
    """At 80 columns, wrapped; nothing ends in three dots."""
    for group in [(), *sorted({path[:-1] for path in ALL if len(path) > 1})]:
        usage, *lines = nilometer(*group, "--help", env={"COLUMNS": "80"}).out.splitlines()
        assert usage.startswith("Usage:")
        assert [line for line in lines if line.endswith("...")] == []


def test_a_missing_extra_is_named() -> None:
    """The package installs without it; what needs it says how to get it."""
    code = "import sys; sys.modules['boto3'] = None; from nilometer.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "local", "--port", "0"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr == "Error: boto3 is not installed; pip install 'nilometer[local]'\n"


@pytest.mark.parametrize("arguments", ON_A_STACK, ids=" ".join)
def test_without_a_stack_a_command_says_how_to_start_one(alone: Any, arguments: list[str]) -> None:
    """One sentence, exit code 1; each group in a process of its own, as a user starts it."""
    answer = replace(alone, in_process=False)(*arguments, text="")

    assert answer.code == 1
    assert answer.err.splitlines() == [
        "Error: no local stack is running; start one with `nilometer local`, or name a stack on AWS with --stack"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["usage", "show"],
        ["usage", "show", "w", "--wrong"],
        ["meter", "create", "m", "--unit", "u", "--aggregation", "average"],
        ["status", "--port", "x"],
        ["status", "--stack", "prod", "--port", "1"],
        ["local", "--chaos", "earthquake=1"],
        ["local", "--chaos", "kill=2"],
        ["local", "--stripe-secret", "sk_live_1"],
        ["query", "select 1", "--json", "--csv"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(nilometer: Any, stack: Any, arguments: list[str]) -> None:
    """Click's own code, with its hint."""
    answer = nilometer(*arguments)

    assert answer.code == 2
    assert "Traceback" not in answer.err


def test_a_stack_is_found_by_port_and_endpoint(nilometer: Any, stack: Any) -> None:
    """Among several; a wrong one is a sentence."""
    port = stack.about["webhook_url"].split(":")[2].split("/")[0]

    assert nilometer("status", "--port", port).code == 0
    assert nilometer("status", "--endpoint-url", stack.about["aws_endpoint_url"]).code == 0
    assert nilometer("status", "--port", "1").code == 1


def test_status_in_both_forms(nilometer: Any, stack: Any) -> None:
    """Eight queues, their dead letters and two streams; one JSON object alone on stdout."""
    nilometer("wait")
    asked = (nilometer("status", "--json").json for _ in range(20))
    found = next(one for one in asked if one["idle"])  # a schedule calls its function now and then

    assert all(set(queue) == {"visible", "in_flight", "delayed"} for queue in found["queues"].values())
    assert {name.split("-")[1] for name in found["queues"]} == {
        "BillingQueue",
        "UsageQueue",
        "OperationsQueue",
        "LakeStripeEventsQueue",
        "LakeUsageQueue",
        "LakeAuditQueue",
        "DatasetsQueue",
        "HooksQueue",
    }
    assert sorted(found["streams"].values()) == [0, 0]
    assert not any(found["dead_letters"].values())
    assert "BillingQueue" in nilometer("status").out


def test_wait_tells_what_is_busy_when_time_is_over(nilometer: Any, stack: Any) -> None:
    """Exit code 1, not a hang."""
    for _ in range(10):
        nilometer("trigger", "customer.created", "--workspace", "ws_busy")
        answer = nilometer("wait", "--timeout", "0")
        if answer.code:  # else all was done before it was asked
            break

    assert answer.code == 1
    assert answer.err.startswith("Error: not idle after 0 s: ")
    assert nilometer("wait", "--json").json["idle"] is True


def test_any_client_can_use_what_local_announced(nilometer: Any, stack: Any) -> None:
    """boto3 with the endpoint publishes on the bus and reads the tables."""
    import boto3

    about = stack.about
    session = boto3.session.Session(aws_access_key_id="any", aws_secret_access_key="any", region_name=about["region"])
    events = session.client("events", endpoint_url=about["aws_endpoint_url"])
    entry = {
        "EventBusName": about["bus"],
        "Source": "accounts",
        "DetailType": "workspace.created.v1",
        "Detail": '{"specversion": "1.0", "id": "1", "source": "/accounts", "type": "workspace.created.v1",'
        ' "subject": "ws_boto3", "time": "2026-11-23T00:00:00Z", "data": {"name": "By boto3"}}',
    }
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
    assert nilometer("wait").code == 0

    table = session.resource("dynamodb", endpoint_url=about["aws_endpoint_url"]).Table(about["records_table"])
    item = table.get_item(Key={"pk": "WORKSPACE#ws_boto3", "sk": "WORKSPACE"})["Item"]
    assert item["name"] == "By boto3"


@pytest.fixture
def aws(stack: Any) -> dict[str, str]:
    """Credentials and region as a user of AWS has them; the account is the engine's."""
    return {
        "AWS_ENDPOINT_URL": stack.about["aws_endpoint_url"],
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "theirs",
        "AWS_SECRET_ACCESS_KEY": "theirs",
    }


def test_a_stack_on_aws_is_asked_by_name(nilometer: Any, alone: Any, stack: Any, aws: dict[str, str]) -> None:
    """Every name comes from its outputs, the status from its queues: no runner is asked."""
    assert nilometer("workspace", "create", "ws_on_aws").code == 0
    assert nilometer("wait").code == 0

    status = alone("status", "--json", env={**aws, "NILOMETER_STACK": "nilometer"}).json
    tables = alone("tables", "--stack", "nilometer", "--json", env=aws).lines
    listed = alone("billing", "list", "--stack", "nilometer", "--json", env=aws).lines

    assert (status["idle"], len(status["queues"]), len(status["dead_letters"])) == (True, 8, 9)
    assert stack.about["tables"].items() <= {table["name"]: table["location"] for table in tables}.items()
    assert "ws_on_aws" in {row["workspace"] for row in listed}


def test_an_unknown_stack_on_aws_is_a_sentence(alone: Any, aws: dict[str, str]) -> None:
    """So are missing credentials."""
    unknown = alone("status", "--stack", "nowhere", env=aws)
    nobody = alone(
        "status", "--stack", "nilometer", env={"AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1"}
    )

    assert unknown.err == "Error: there is no stack nowhere in us-east-1; check name, region, account\n"
    assert (unknown.code, nobody.code) == (1, 1)
    assert nobody.err.startswith("Error: AWS: Unable to locate credentials")
