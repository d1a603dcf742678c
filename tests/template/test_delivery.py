"""How a release travels: GitHub's workflows, and the roles that bootstrap.yaml gives them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.decode import cfn_yaml
from tests.support.cloudformation import Template, listed
from tests.support.project import ROOT

WORKFLOWS = ROOT / ".github/workflows"


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((WORKFLOWS / name).read_text())
    return found


@pytest.fixture(scope="session")
def bootstrap() -> Template:
    return Template(cfn_yaml.load(str(ROOT / "bootstrap.yaml")))


def test_cfn_lint_has_nothing_to_say_of_the_bootstrap() -> None:
    """Warnings count too."""
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "bootstrap.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("", 0)


def test_a_release_passes_each_stage_in_order() -> None:
    """Built once; production's change set is there before anybody is asked to approve it."""
    jobs = workflow("deploy.yml")["jobs"]

    order = ["build", "dev", "staging", "plan", "prod"]
    assert [(name, jobs[name].get("needs")) for name in jobs] == list(zip(order, [None, *order[:-1]], strict=True))
    assert [jobs[name]["with"]["stage"] for name in order[1:]] == ["dev", "staging", "prod", "prod"]
    assert [jobs[name]["with"]["environment"] for name in order[1:]] == ["dev", "staging", "prod-plan", "prod"]
    assert jobs["plan"]["with"]["options"] == "--no-execute-changeset"


def test_no_job_holds_a_key() -> None:
    """Each becomes the role of its environment; nothing has a right by default."""
    for path in WORKFLOWS.glob("*.yml"):
        assert workflow(path.name)["permissions"] == {}
        assert "secrets." not in path.read_text()
    [job] = workflow("stage.yml")["jobs"].values()
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    assert job["environment"] == "${{ inputs.environment }}"


@pytest.mark.parametrize(("role", "environment"), [("DeployRole", "${Stage}"), ("PlanRole", "${Stage}-plan")])
def test_only_its_own_environment_may_become_a_stage(bootstrap: Template, role: str, environment: str) -> None:
    """Another repository, branch or stage has a token with another subject."""
    [trust] = bootstrap.resources[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]

    assert trust["Condition"]["StringEquals"] == {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": {"Fn::Sub": f"repo:${{Repository}}:environment:{environment}"},
    }


def test_who_plans_cannot_execute(bootstrap: Template) -> None:
    """Nobody approves the plan, so it changes nothing; all else is the same."""
    of = {
        role: {a for r, s in bootstrap.statements if r == role for a in listed(s["Action"])}
        for role in ("DeployRole", "PlanRole")
    }

    assert of["DeployRole"] - of["PlanRole"] == {"cloudformation:ExecuteChangeSet"}
    assert of["PlanRole"] < of["DeployRole"]


def test_a_release_cannot_give_itself_more(bootstrap: Template) -> None:
    """Roles of its stack alone, and none of those that deploy."""
    allowed, denied = [s for role, s in bootstrap.statements if role == "StackRole" and "iam:" in str(s)]

    assert all("/nilometer-${Stage}-*" in str(resource) for resource in allowed["Resource"])
    assert (denied["Effect"], denied["Action"]) == ("Deny", "iam:*")
    names = {
        str(bootstrap.resources[r]["Properties"]["RoleName"]["Fn::Sub"])
        for r in ("DeployRole", "PlanRole", "StackRole")
    }
    assert names == {str(r["Fn::Sub"]).rpartition("/")[2] for r in denied["Resource"]}


def test_the_stack_role_knows_every_service_of_the_template(bootstrap: Template, template: Template) -> None:
    """A new kind of resource shows here, not in the middle of a deployment."""
    services = {
        "ApiGatewayV2": "apigateway",
        "Budgets": "budgets",
        "CloudWatch": "cloudwatch",
        "DynamoDB": "dynamodb",
        "Events": "events",
        "Glue": "glue",
        "IAM": "iam",
        "Lambda": "lambda",
        "Logs": "logs",
        "S3": "s3",
        "SNS": "sns",
        "SQS": "sqs",
        "Scheduler": "scheduler",
        "SecretsManager": "secretsmanager",
        "Serverless": "lambda",
    }
    needed = {services[one["Type"].split("::")[1]] for one in template.resources.values()}
    statements = [s for role, s in bootstrap.statements if role == "StackRole" and s["Effect"] == "Allow"]
    granted = {action.partition(":")[0] for s in statements for action in s["Action"]}

    assert needed <= granted
    assert granted - needed == {"codedeploy", "cloudformation"}  # the canary's, and SAM's transform


def test_a_replaced_table_stops_the_release(tmp_path: Path) -> None:
    """The shell's own pattern, over lines as `sam deploy` prints a change set."""
    text = (WORKFLOWS / "stage.yml").read_text()
    pattern = json.loads(re.findall(r'grep -E (".*?") deployed', text)[0])
    lines = {
        "* Modify          RecordsTable          AWS::DynamoDB::Table          True": True,
        "* Modify          RecordsTable          AWS::DynamoDB::Table          False": False,
        "* Modify          WebhookFunction       AWS::Lambda::Function         True": False,
    }

    assert {line: bool(re.search(pattern, line)) for line in lines} == lines
