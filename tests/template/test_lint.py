"""The template as its two readers see it: cfn-lint and SAM."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_cfn_lint_has_nothing_to_say(project: Path) -> None:
    """Warnings count too."""
    done = run(Path(sys.executable).with_name("cfn-lint"), "template.yaml", cwd=project)

    assert (done.stdout, done.returncode) == ("", 0)


def test_sam_finds_the_template_valid(project: Path, sam: Path) -> None:
    """SAM's transform and its own cfn-lint agree."""
    done = run(sam, "validate", "--lint", cwd=project)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "is a valid SAM Template" in done.stdout


# What SAM reads of samconfig.toml is the same with any template; its transform of ours, without cfn-lint, is of `prod`.
SMALL = """\
Transform: AWS::Serverless-2016-10-31
Resources: { Nothing: { Type: "AWS::CloudFormation::WaitConditionHandle" } }
"""


@pytest.mark.parametrize("stage", ["dev", "small", "staging", "prod"])
def test_each_stage_of_samconfig_is_understood(project: Path, sam: Path, stage: str, tmp_path: Path) -> None:
    """An unknown option in samconfig.toml shows only when somebody deploys."""
    small = tmp_path / "template.yaml"
    small.write_text(SMALL)
    template = ["--template", str(small), "--config-file", str(project / "samconfig.toml")]

    done = run(sam, "validate", "--config-env", stage, *(template if stage != "prod" else ()), cwd=project)

    assert done.returncode == 0, done.stdout + done.stderr
