"""What a function's role allows is what its code can ask for: less is an outage on AWS, more helps an intruder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.cloudformation import Template, listed
from tests.support.stack.reach import Use, graph

FLOWS = (
    "webhook",
    "http.api",
    "http.console",
    "http.hooks",
    "billing",
    "usage",
    "operations",
    "changes",
    "limits",
    "lake",
    "datasets",
    "reconcile",
    "maintenance",
    "redrive",
)
# Lambda itself asks for these with the function's role: to log, to poll, to keep what it gives up. Each has a test.
LAMBDAS_OWN = re.compile(
    r"logs:|sqs:(Receive|Delete|GetQueue)|dynamodb:(DescribeStream|GetShard|GetRecords|ListStreams)"
)
# S3 asks for it where an object may be missing (test_permissions.py).
OF_EVERY_READER = {"s3:ListBucket"}
# They read or empty whole tables; no service calls them.
OPERATORS = {"all_workspaces", "complete_lists", "purge_workspace"}
# The walk goes by names and finds more than there is: what the console does not ask for, and why.
NOT_ASKED = {
    Use("dynamodb:PutItem", "records"): "limits.alert() is read for its time, and not committed",
    Use("dynamodb:Scan", "events"): "verify, which the console of a function refuses",
    Use("s3:PutObject", "bucket"): "other things than a bucket have a method `put`",
}
KINDS = {
    "index/gsi1": "index",
    "index/gsi2": "lists",
    "RecordsTable": "records",
    "EventsTable": "events",
    "LakeBucket": "bucket",
    "DeadLetters": "dead letters",
    "Function.Alias": "function",
    "event-bus/": "bus",
    "StripeSigningSecrets": "secret",
    "StripeApiKey": "secret",
    "AuditKey": "secret",
    "ConsoleKey": "secret",
    "WebhookKey": "secret",
    ":identity/": "identity",
    ":configuration-set/": "identity",
    "Schedule": "schedule",
    "Logs": "log",
    "Queue": "queue",
}


def allowed(template: Template, flow: str) -> set[Use]:
    """Of the function's own doing."""
    return {
        Use(action, "queue" if action == "sqs:GetQueueAttributes" else kind_of(resource))
        for role, statement in template.statements
        if role == f"{flow.rpartition('.')[2].title()}Role"
        for action in set(listed(statement["Action"])) - OF_EVERY_READER
        for resource in listed(statement["Resource"])
        if flow in {"redrive", "http.console"} or not (LAMBDAS_OWN.match(action) or "aws/lambda/" in str(resource))
        if not action.startswith(("logs:Create", "logs:Put"))
    }


def kind_of(resource: Mapping[str, Any]) -> str:
    return next(kind for mark, kind in KINDS.items() if mark in str(resource))


@pytest.mark.parametrize("flow", FLOWS)
def test_a_role_allows_what_its_function_can_ask_for(template: Template, flow: str) -> None:
    """Every call that the handler reaches, on the table or place that it names; and nothing else."""
    asked, granted = graph().uses((f"nilometer.lambdas.{flow}", "handler")), allowed(template, flow)
    asked -= NOT_ASKED.keys() if flow == "http.console" else set()

    assert asked
    assert {"missing": asked - granted, "unused": granted - asked} == {"missing": set(), "unused": set()}


def test_every_function_is_walked(template: Template) -> None:
    """A new one without its walk would have rights that nobody compared."""
    assert {f"{flow.rpartition('.')[2].title()}Function" for flow in FLOWS} == set(template.functions)


def test_the_walk_sees_through_callbacks_methods_and_modules() -> None:
    """A walk that stops early would call every right unused, or miss one: three ways that are known to be there."""
    reconcile = graph().uses(("nilometer.lambdas.reconcile", "handler"))  # by a table of tasks
    usage = graph().uses(("nilometer.lambdas.usage", "handler"))  # by methods of a batch
    maintenance = graph().uses(("nilometer.lambdas.maintenance", "handler"))  # by partial and deltalake

    assert Use("dynamodb:BatchWriteItem", "records") in reconcile
    assert Use("dynamodb:DeleteItem", "events") in usage
    assert Use("s3:DeleteObject", "bucket") in maintenance


def test_a_service_with_the_library_has_the_rights_that_its_functions_ask_for(project: Path) -> None:
    """The policy in docs/data.md names each action on the tables that the verbs and the reads about people reach."""
    page = (project / "docs/data.md").read_text()
    tables = json.loads(re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0])
    granted = set(tables["Statement"][0]["Action"])
    found = graph()
    asked = {
        use.action
        for node in found.functions
        if (node[0].startswith("nilometer.flows.people.") and node[1] not in OPERATORS and node[1][0] != "_")
        or node == ("nilometer.flows.operations.batch", "handle")  # every verb
        for use in found.uses(node)
        if use.action.startswith("dynamodb:")
    }

    assert asked == granted
