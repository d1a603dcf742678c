"""Which stack a command takes: the one that was typed, and never silently one of several."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from nilometer.local.plane.discovery import StackDescription


@pytest.fixture
def two(alone: Any, stack: Any) -> Iterator[Any]:
    """Two descriptions of stacks that run: the one of the session, and a newer twin at another port, with a name."""
    code = (
        "import sys, json; from nilometer.local.plane.discovery import StackDescription, announced\n"
        "with announced(StackDescription(**json.loads(sys.argv[1]))): print(flush=True); sys.stdin.read()"
    )
    fields = {field.name for field in dataclasses.fields(StackDescription)}
    about = {name: value for name, value in stack.about.items() if name in fields}
    twins = [about, {**about, "webhook_url": "http://127.0.0.1:1/webhooks/stripe", "name": "twin"}]
    running = []
    for one in twins:
        words = [sys.executable, "-c", code, StackDescription(**one).as_json()]
        process = subprocess.Popen(words, stdin=-1, stdout=-1, env=alone.environment)
        assert process.stdout
        assert process.stdout.readline()
        running.append(process)
    yield alone
    for process in running:
        process.communicate()


def test_all_are_listed_and_the_newest_is_named(two: Any, stack: Any) -> None:
    """A command that reads goes on and says on stderr whom it asks; with --port there is nothing to say."""
    port = stack.about["webhook_url"].split(":")[2].split("/")[0]

    assert [str(one["port"]) for one in two("ls", "--json").lines] == ["1", port]
    asked = two("billing", "list")
    assert (asked.code, asked.err.splitlines()[0]) == (
        0,
        "2 local stacks run; this is the newest, --port 1. `nilometer ls` lists all",
    )
    assert "local stacks run" not in two("billing", "list", "--port", port).err


def test_a_local_stack_is_found_by_its_name(two: Any) -> None:
    """Typed or from the environment, it says on stderr which one that is; no second stack gets its name."""
    typed, known = two("env", "--stack", "twin"), two("env", env={"NILOMETER_STACK": "twin"})
    second = two("local", "--name", "twin", "--port", "0", "--aws-port", "0")

    assert [str(one["name"]) for one in two("ls", "--json").lines] == ["twin", "None"]
    assert "NILOMETER_WEBHOOK_URL=http://127.0.0.1:1/webhooks/stripe" in typed.out
    assert (typed.out, typed.err) == (known.out, "twin is the local stack at port 1\n")
    assert (second.code, second.err) == (1, "Error: a local stack named twin runs already; choose another name\n")
    assert two("local", "--name", "No Name").code == 2


def test_what_asks_before_it_acts_is_refused(two: Any) -> None:
    """`dlq purge` and the like never take the newest by chance."""
    answer = two("dlq", "purge", "--yes")

    assert answer.code == 1
    assert "2 local stacks run, at the ports 1, " in answer.err
    assert "say which with --port" in answer.err


def test_what_is_typed_wins_over_the_environment(nilometer: Any, stack: Any) -> None:
    """NILOMETER_PORT beside --stack, and NILOMETER_STACK beside --port, are no conflict."""
    port = stack.about["webhook_url"].split(":")[2].split("/")[0]
    keys = {"AWS_ENDPOINT_URL": stack.about["aws_endpoint_url"], "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}

    named = nilometer("status", "--stack", "nilometer", env={**keys, "AWS_REGION": "us-east-1", "NILOMETER_PORT": "1"})
    assert named.code == 0, named.err
    assert nilometer("status", "--port", port, env={"NILOMETER_STACK": "nowhere"}).code == 0


def test_the_environment_opens_tables_and_lake(nilometer: Any, stack: Any) -> None:
    """What `env` prints is all that boto3 and delta-rs need; the lines are a shell's."""
    import boto3
    from deltalake import DeltaTable

    nilometer("trigger", "customer.created", "--workspace", "ws_env")
    nilometer("wait")
    found = nilometer("env", "--json").json
    variables = found["environment"]
    client = boto3.client(
        "dynamodb",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )

    assert client.describe_table(TableName=variables["NILOMETER_RECORDS_TABLE"])["Table"]["TableStatus"] == "ACTIVE"
    opened = DeltaTable(f"{variables['NILOMETER_LAKE_URI']}/stripe_events", storage_options=found["storage_options"])
    assert opened.version() >= 0
    assert f"export NILOMETER_BUS={variables['NILOMETER_BUS']}" in nilometer("env").out.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(alone: Any, shell: str) -> None:
    """And completes values: event types without a stack, nothing where there is no stack to ask."""
    assert "_NILOMETER_COMPLETE" in alone("completion", shell).out


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("nilometer trigger customer.subscription.d", "customer.subscription.deleted"),
        ("nilometer query --recipe usage-per", "usage-per-day"),
        ("nilometer member list ws_comp", "ws_completed"),
    ],
)
def test_values_are_completed(process: Any, stack: Any, typed: str, found: str) -> None:
    """Event types, recipes, and workspaces of the stack that runs."""
    process("workspace", "create", "ws_completed")
    asked = {"_NILOMETER_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    answer = process(env=asked)

    assert f"plain,{found}" in answer.out.split()


def test_every_event_type_is_listed(alone: Any) -> None:
    """Without a stack; a wrong type says where they are."""
    listed = alone("trigger", "--list").out.splitlines()

    assert {"invoice.paid", "customer.subscription.deleted"} <= set(listed)
    assert listed == sorted(listed)
