"""The policies for people and services allow what the commands of each ask of AWS: not less, and not more."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator

import click
import pytest
from tests.support.cloudformation import Template, listed
from tests.support.command_line import leaves
from tests.support.project import ROOT
from tests.support.stack.reach import OF_COMMANDS, Use, graph_of_commands

from nilometer.cli.program import cli

LOCAL = {("demo",), ("local",), ("ls",), ("cost",), ("completion",)}
"""They ask no stack on AWS."""
COMMANDS = {
    "PublisherPolicy": {("usage", "send"), ("datasets", "send")},
    "AnalystPolicy": {("query",), ("recipes",), ("metric",), ("tables", "status"), ("env",)},
    "ConsolePolicy": {("console",), ("listen",), ("status",), ("wait",), ("doctor",)},
    "OperatorPolicy": set(leaves()) - LOCAL,
}
# (policy, what the walk finds though nobody does it): the walk goes by names, so it has an edge too many
NOT_DONE = {
    ("ConsolePolicy", Use("dynamodb:PutItem", "records")): "the time of an alert is computed by what also writes one",
    ("ConsolePolicy", Use("s3:PutObject", "bucket")): "DuckDB's `create` is called as deltalake's is",
    ("ConsolePolicy", Use("secretsmanager:PutSecretValue", "")): "`_put` of signing secrets is called as a queue's is",
}
# In a list of resources the first that a text has; what AWS asks for by the action alone has none.
KINDS = {
    "index/gsi1": "index",
    "index/gsi2": "lists",
    "DeadLetters": "dead letters",
    "Queue-": "queue",
    "RecordsTable": "records",
    "EventsTable": "events",
    "LakeBucket": "bucket",
    "Function.Alias": "function",
    "'Bus'": "bus",
    "Stripe": "secret",
    "AuditKey": "secret",
    "WebhookKey": "secret",
}
OF_EVERY_READER = "s3:ListBucket"
# Source: Service Authorization Reference. Lists are allowed on "*" alone, and one action is asked for on several ARNs.
ON_ALL = {"events:ListArchives", "events:ListRules", "lambda:ListEventSourceMappings", "lambda:GetEventSourceMapping"}
ON_EACH = {"events:StartReplay": ("'Bus'", ":event-bus/aws.partner/", ":archive/", ":replay/")}
MOST = 6_144  # characters of a managed policy, without white space


def asked(words: tuple[str, ...]) -> set[Use]:
    """Of one command, from its function on."""
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found
        command = found
    function = inspect.unwrap(command.callback) if command.callback else None
    assert function
    found = graph_of_commands().uses((function.__module__, function.__qualname__.partition(".")[0]))
    return {Use(use.action, "") if use.action in OF_COMMANDS.values() else use for use in found}


def granted(template: Template, policy: str) -> Iterator[Use]:
    known = {use.action: use.resource for words in COMMANDS["OperatorPolicy"] for use in asked(words)}
    document = template.of("AWS::IAM::ManagedPolicy")[policy]["PolicyDocument"]
    for statement in document["Statement"]:
        for action in listed(statement["Action"]):
            if known.get(action) == "":
                yield Use(action, "")
            elif action != OF_EVERY_READER:
                yield from (Use(action, kind_of(one)) for one in listed(statement["Resource"]))


def kind_of(resource: object) -> str:
    return next(kind for mark, kind in KINDS.items() if mark in str(resource))


@pytest.mark.parametrize("policy", COMMANDS)
def test_a_policy_allows_what_its_commands_ask_for(template: Template, policy: str) -> None:
    """Each call that one of them can reach, on the table or place that it names; and nothing else."""
    asking = {use for words in COMMANDS[policy] for use in asked(words)}
    asking -= {use for name, use in NOT_DONE if name == policy}
    allowed = set(granted(template, policy))

    assert asking
    assert {"missing": asking - allowed, "unused": allowed - asking} == {"missing": set(), "unused": set()}


def test_what_has_no_resource_is_allowed_on_all_and_nothing_else_is(template: Template) -> None:
    """On an ARN such a list is denied, by AWS alone: no engine here tells."""
    statements = [one for _, one in template.statements_of_policies]

    assert {action for one in statements if one["Resource"] == "*" for action in listed(one["Action"])} == ON_ALL
    assert not any(ON_ALL & set(listed(one["Action"])) for one in statements if one["Resource"] != "*")
    for action, marks in ON_EACH.items():
        resources = [str(one["Resource"]) for one in statements if action in listed(one["Action"])]
        assert resources
        assert all(mark in text for text in resources for mark in marks)


def test_the_job_that_deploys_may_look_at_the_stack(bootstrap: Template) -> None:
    """By the commands that the workflow ends with."""
    workflow = (ROOT / ".github/workflows/stage.yml").read_text()
    commands = [tuple(one.split()) for one in re.findall(r"bin/nilometer ([a-z ]+) --stack", workflow)]
    asking = {use.action for words in commands for use in asked(words)}
    allowed = {action for role, one in bootstrap.statements if role == "DeployRole" for action in listed(one["Action"])}

    assert asking
    assert asking - allowed == set()


def test_every_command_is_in_a_policy() -> None:
    """A new one is the operator's at least, so it is walked; one that only works here is named above."""
    assert set(leaves()) == COMMANDS["OperatorPolicy"] | LOCAL
    assert all(commands <= COMMANDS["OperatorPolicy"] for commands in COMMANDS.values())


def test_no_false_edge_is_kept_that_is_gone() -> None:
    """What the walk does not find any more must not be excused."""
    for policy, use in NOT_DONE:
        assert any(use in asked(words) for words in COMMANDS[policy]), use


def test_a_policy_fits_into_what_iam_takes(template: Template) -> None:
    """A function's or table's name, filled in, has up to forty characters more than what stands for it."""
    for name, policy in template.of("AWS::IAM::ManagedPolicy").items():
        text = json.dumps(policy["PolicyDocument"], separators=(",", ":"))
        filled = len(text) + 40 * text.count("Fn::GetAtt") + 40 * text.count('"Ref"') + 20 * text.count("Fn::Sub")
        assert filled < MOST, name


def test_the_walk_finds_the_calls_of_commands() -> None:
    """A walk that finds none would call every right unused: some that are known to be there."""
    assert Use("events:StartReplay", "") in asked(("replay", "archive"))
    assert Use("secretsmanager:PutSecretValue", "") in asked(("stripe", "endpoint", "create"))
    assert Use("dynamodb:Scan", "events") in asked(("restore",))
    assert Use("s3:PutObject", "bucket") in asked(("datasets", "send"))
