"""Who may publish as whom on the bus: its policy, judged by MiniStack's evaluator of resource policies.

The engine does not put a bus's policy before its own door, so the statement is judged as written, with the context keys
that AWS gives it: the sources of all entries of a request, and the role of its caller.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy
from tests.support.cloudformation import Template, referred

ACCOUNT = "arn:aws:iam::123456789012"
BUS = "arn:aws:events:us-east-1:123456789012:event-bus/nilometer-prod"


@pytest.fixture(scope="module")
def policy(template: Template) -> str:
    """With the physical names of a stack."""
    return json.dumps(_resolved(template.of("AWS::Events::EventBus")["Bus"]["Policy"]))


def _resolved(value: Any) -> Any:
    if isinstance(value, list):
        return [_resolved(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    if "Fn::GetAtt" in value:
        return f"{ACCOUNT}:role/{referred(value)}"
    if "Fn::Sub" in value:
        return BUS
    return {key: _resolved(each) for key, each in value.items()}


def decision(policy: str, role: str, *sources: str) -> str:
    """Of one PutEvents with an entry from each source."""
    context = EvalContext(
        principal_arn=f"{ACCOUNT}:role/{role}",
        principal_type="AssumedRole",
        principal_account="123456789012",
        action="events:PutEvents",
        resource_arn=BUS,
        region="us-east-1",
        service_context={"events:source": list(sources)},
    )
    return str(evaluate_resource_policy(policy, context).decision)


@pytest.mark.parametrize("role", ["Services", "Operator", "BillingRole"])
@pytest.mark.parametrize("source", ["nilometer.changes", "nilometer.webhook", "nilometer.anything"])
def test_nobody_else_speaks_as_one_of_ours(policy: str, role: str, source: str) -> None:
    """Whatever its own policy allows, and wherever in the request the entry stands."""
    assert decision(policy, role, source) == "Deny"
    assert decision(policy, role, "services.console", source) == "Deny"
    assert decision(policy, role, source, "services.console") == "Deny"


@pytest.mark.parametrize("source", ["services.console", "/nilometer/cli", "nilometers", "company.nilometer.changes"])
def test_services_and_operators_publish_under_their_own_names(policy: str, source: str) -> None:
    """The policy only denies: their own policies decide."""
    assert decision(policy, "Services", source) == "ImplicitDeny"


def test_the_two_that_publish_may(policy: str) -> None:
    """Each under its own name alone, which its role says (test_permissions.py)."""
    assert decision(policy, "WebhookRole", "nilometer.webhook") == "ImplicitDeny"
    assert decision(policy, "ChangesRole", "nilometer.changes") == "ImplicitDeny"


def test_who_may_publish_is_who_the_policy_spares(template: Template) -> None:
    """A further function that publishes would be refused by the bus, on AWS alone."""
    [statement] = template.of("AWS::Events::EventBus")["Bus"]["Policy"]["Statement"]
    publishing = {role for role, one in template.statements if "events:PutEvents" in one["Action"]}

    assert {referred(arn) for arn in statement["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]} == publishing
