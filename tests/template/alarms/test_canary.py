"""A new version is tried on a tenth of the calls, judged by its own failures, and taken back by itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from tests.support.cloudformation import Template, listed, referred, under

# They work at night, or some stacks have none: ten minutes of the day would show nothing of it.
AT_ONCE = {"ConsoleFunction", "HooksFunction", "MaintenanceFunction", "ReconcileFunction", "RedriveFunction"}


@pytest.fixture(scope="module", params=["true", "false"])
def canary(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def made(template: Template, canary: str) -> Mapping[str, Any]:
    """The template that CloudFormation gets from SAM."""
    body = json.loads(json.dumps(template.body, default=str))
    body["Globals"]["Function"]["CodeUri"] = "s3://a-bucket/a-package"  # as `sam package` does
    translator = Translator({}, Parser(), boto_session=boto3.session.Session(region_name="us-east-1"))
    whole: Mapping[str, Any] = translator.translate(body, {"Stage": "prod", "Canary": canary})
    return whole


@pytest.fixture(scope="module")
def transformed(made: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its resources."""
    resources: Mapping[str, Any] = made["Resources"]
    return resources


def test_every_caller_calls_the_alias(template: Template) -> None:
    """A caller of the function itself would get each new version at once, and no rollback."""
    callers = [
        *(mapping["FunctionName"] for mapping in template.mappings.values()),
        *(s["Target"]["Arn"] for s in template.of("AWS::Scheduler::Schedule").values()),
        *(integration["IntegrationUri"] for integration in template.of("AWS::ApiGatewayV2::Integration").values()),
        *(permission["FunctionName"] for permission in template.of("AWS::Lambda::Permission").values()),
    ]
    called = {re.sub(r"\.Alias$", "", caller["Ref"]) for caller in callers if caller["Ref"].endswith(".Alias")}

    assert called == set(template.functions)
    assert all(caller["Ref"].endswith(".Alias") for caller in callers)


def test_who_may_call_may_call_the_alias(template: Template) -> None:
    """Lambda asks for the permission on what was named: alias and function are two resources."""
    allowed = [
        resource
        for _, statement in template.statements
        if "lambda:InvokeFunction" in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]
    scheduled = [schedule["Target"]["Arn"] for schedule in template.of("AWS::Scheduler::Schedule").values()]

    assert all(target in allowed for target in scheduled)


def test_every_change_of_a_function_is_a_version(template: Template) -> None:
    """Of a variable or a timeout too; the alias would stay with the old ones."""
    assert all(f["AutoPublishAlias"] == "live" for f in template.functions.values())
    assert all(f["AutoPublishAliasAllProperties"] for f in template.functions.values())


def test_production_has_canaries(project: Path) -> None:
    """And no other stage waits for ten minutes."""
    config = tomllib.loads((project / "samconfig.toml").read_text())
    overrides = {
        stage: config[stage]["deploy"]["parameters"]["parameter_overrides"]
        for stage in config
        if stage not in {"version", "default"}
    }

    assert {stage for stage, text in overrides.items() if "Canary=true" in text} == {"prod"}


def test_a_canary_is_a_deployment_of_codedeploy(
    template: Template, transformed: Mapping[str, Any], canary: str
) -> None:
    """For every function whose failures show within ten minutes; without the parameter there is none."""
    groups = {n: r["Properties"] for n, r in transformed.items() if r["Type"] == "AWS::CodeDeploy::DeploymentGroup"}
    expected = set(template.functions) - AT_ONCE if canary == "true" else set()

    assert {name.removesuffix("DeploymentGroup") for name in groups} == expected
    for name, group in groups.items():
        [alarm] = group["AlarmConfiguration"]["Alarms"]
        function = name.removesuffix("DeploymentGroup")
        assert alarm["Name"]["Fn::If"][1] == {"Ref": function.replace("Function", "CanaryAlarm")}
        assert group["AutoRollbackConfiguration"]["Enabled"] is True
        assert group["ServiceRoleArn"]["Fn::If"][1] == {"Fn::GetAtt": ["DeploymentRole", "Arn"]}
        assert transformed[f"{function}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]


def test_cfn_lint_has_nothing_to_say_of_what_sam_makes(made: Mapping[str, Any], tmp_path: Path) -> None:
    """Of template.yaml it sees the defaults alone: no canary, and no circle that one may close."""
    file = tmp_path / "made.json"
    file.write_text(json.dumps(made))
    # E3003: it does not know that a deployment group is made only where its role is.
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks", "E3003", "--", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.stdout, done.returncode) == ("", 0)


def test_sam_adds_no_managed_policy(transformed: Mapping[str, Any]) -> None:
    """CodeDeploy's own role would get one."""
    assert not list(under("ManagedPolicyArns", transformed))


def test_a_canary_is_judged_by_its_own_failures(template: Template) -> None:
    """Those of the version before must not stop the deployment that mends them."""
    alarms = {n: a for n, a in template.of("AWS::CloudWatch::Alarm").items() if n.endswith("CanaryAlarm")}

    assert {name.replace("CanaryAlarm", "Function") for name in alarms} == set(template.functions) - AT_ONCE
    for name, alarm in alarms.items():
        function = name.replace("CanaryAlarm", "Function")
        metrics = [metric["MetricStat"]["Metric"] for metric in alarm["Metrics"] if "MetricStat" in metric]
        versions = [d["Value"] for m in metrics for d in m["Dimensions"] if d["Name"] in {"ExecutedVersion", "version"}]
        assert versions == [{"Fn::GetAtt": [function, "Version.Version"]}] * len(metrics)


def test_codedeploy_may_move_these_aliases_and_read_these_alarms(template: Template) -> None:
    """Alarms of the account, because CodeDeploy asks without names; and nothing else."""
    statements = [statement for role, statement in template.statements if role == "DeploymentRole"]
    named = {referred(r) if "Fn::GetAtt" in r else r["Fn::Sub"] for s in statements for r in listed(s["Resource"])}
    canaries = set(template.functions) - AT_ONCE

    every_alarm = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:*"
    assert named == {every_alarm} | canaries | {f"${{{function}.Arn}}:live" for function in canaries}
