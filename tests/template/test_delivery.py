"""How a release travels: GitHub's workflows, and the roles that bootstrap.yaml gives them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.cloudformation import Template, listed
from tests.support.project import ROOT

WORKFLOWS = ROOT / ".github/workflows"


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((WORKFLOWS / name).read_text())
    return found


def steps(name: str) -> Iterator[dict[str, Any]]:
    """Of every job of a workflow."""
    for job in workflow(name)["jobs"].values():
        yield from job.get("steps", ())


def scripts(name: str) -> Iterator[str]:
    """What its steps run by a shell."""
    return (step["run"] for step in steps(name) if "run" in step)


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
    """Nobody approves the plan, so it changes nothing, and the job that plans does not look at the stack; all else is
    the same."""
    of = {
        role: {a for r, s in bootstrap.statements if r == role for a in listed(s["Action"])}
        for role in ("DeployRole", "PlanRole")
    }

    assert of["DeployRole"] - of["PlanRole"] == {"cloudformation:ExecuteChangeSet", "sqs:GetQueueAttributes"}
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


def test_a_step_that_fails_before_a_pipe_fails() -> None:
    """Without `shell: bash` GitHub runs `bash -e`, for which a pipe succeeds when its last command does."""
    piped = [path.name for path in WORKFLOWS.glob("*.yml") if any(" | " in script for script in scripts(path.name))]
    shells = {name: workflow(name).get("defaults", {}).get("run", {}).get("shell") for name in piped}

    assert shells == {"stage.yml": "bash"}
    own = [step["shell"] for path in WORKFLOWS.glob("*.yml") for step in steps(path.name) if "shell" in step]
    assert own == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("* Modify", "RecordsTable", "AWS::DynamoDB::Table", "True"), 1),
        (("* Modify", "StripeSigningSecrets", "AWS::SecretsManager::Secret", "True"), 1),
        (("- Delete", "HooksQueue", "AWS::SQS::Queue", "N/A"), 1),
        (("* Modify", "RecordsTable", "AWS::DynamoDB::Table", "False"), 0),
        (("* Modify", "RecordsTable", "AWS::DynamoDB::Table", "Conditional"), 0),
        (("+ Add", "NewQueue", "AWS::SQS::Queue", "N/A"), 0),
        (("- Delete", "OldAlarm", "AWS::CloudWatch::Alarm", "N/A"), 0),
        (("* Modify", "WebhookFunction", "AWS::Lambda::Function", "True"), 0),
    ],
)
def test_what_would_lose_state_stops_the_release(tmp_path: Path, change: tuple[str, ...], code: int) -> None:
    """The job's own script, with a `sam` that prints a change set as the real one does: four columns of a width."""
    done = released(tmp_path, "print('{:<48} {:<48} {:<48} {:<47}'.format(*" + repr(change) + "))")

    assert done.returncode == code, done.stdout + done.stderr
    assert ("::warning::" in done.stdout) == (change[-1] == "Conditional")


def test_a_deployment_that_fails_stops_the_release(tmp_path: Path) -> None:
    """`tee` after it succeeds."""
    assert released(tmp_path, "raise SystemExit(1)").returncode == 1


def test_no_type_that_keeps_state_is_broken_over_two_lines() -> None:
    """SAM's table has a quarter of the terminal for each column, less three characters between them."""
    [job] = workflow("stage.yml")["jobs"].values()

    assert len("AWS::SecretsManager::Secret") < (int(job["env"]["COLUMNS"]) - 3) // 4 - 2


def released(folder: Path, sam: str) -> subprocess.CompletedProcess[str]:
    """What the step that deploys does, in the shell that GitHub takes for the workflow's `shell`."""
    [script] = [text for text in scripts("stage.yml") if "sam deploy" in text]
    program = folder / ".venv/sam/bin/sam"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\n{sam}\n")
    program.chmod(0o755)
    bash = workflow("stage.yml").get("defaults", {}).get("run", {}).get("shell") == "bash"
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail"] if bash else ["bash", "-e"]
    names = {"STAGE": "dev", "AWS_REGION": "us-east-1", "STACK_ROLE": "arn", "OPTIONS": "", "PATH": os.environ["PATH"]}
    return subprocess.run(
        [*shell, "-c", script], cwd=folder, env=names, capture_output=True, text=True, check=False, timeout=60
    )
