"""What SAM made of a template is the same from a file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMPARED = r"""
import json, re, sys
from pathlib import Path
from ministack.services.cloudformation import engine, handlers
from nilometer.local.patches import transforms

transforms.use(Path(sys.argv[1]))
text = re.sub(r"(?m)^(\s+CodeUri:).*$", r"\1 s3://code/code.zip", Path(sys.argv[2]).read_text())


def made_of(template):
    try:
        return handlers._apply_transforms(template, [])
    except Exception as error:
        return type(error).__name__


made = [made_of(engine._parse_template(text)), made_of(json.loads(sys.argv[3]))]
print(json.dumps({"made": made, "sam": "samtranslator" in sys.modules}))
"""
SAM = "AWS::Serverless-2016-10-31"
INCLUDE = {"Fn::Transform": {"Name": "AWS::Include", "Parameters": {"Location": "s3://none/none"}}}


@pytest.fixture
def transformed(project: Path, tmp_path: Path) -> Any:
    def run(other: Any) -> dict[str, Any]:
        command = [sys.executable, "-c", COMPARED, str(tmp_path), str(project / "template.yaml"), json.dumps(other)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return run


def test_the_second_start_needs_no_translator(transformed: Any) -> None:
    """A template without a transform is left alone."""
    first, second = (transformed({"Resources": {}}) for _ in range(2))

    assert first["made"] == second["made"]
    assert first["made"][0]["Resources"]["BillingFunction"]["Type"] == "AWS::Lambda::Function"
    assert first["made"][1] == {"Resources": {}}
    assert (first["sam"], second["sam"]) == (True, False)


def test_a_broken_file_counts_for_nothing(transformed: Any, tmp_path: Path) -> None:
    """It is written anew."""
    first = transformed({"Resources": {}})
    [kept] = tmp_path.glob("*.json")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])

    assert transformed({"Resources": {}})["made"] == first["made"]
    assert kept.read_bytes() == whole


@pytest.mark.parametrize(
    "other",
    [
        {"Transform": SAM, "Resources": {"A": {"Type": "AWS::SNS::Topic", "Metadata": INCLUDE}}},
        {"Transform": SAM, "Resources": {"A": {"Type": "AWS::Serverless::Function"}}},
        {"Transform": ["AWS::LanguageExtensions", SAM], "Resources": {"A": {"Type": "AWS::SNS::Topic"}}},
    ],
    ids=["an include", "a failure", "parameters"],
)
def test_what_is_made_of_more_is_not_kept(transformed: Any, tmp_path: Path, other: Any) -> None:
    """It may be another one the next time."""
    transformed(other)

    assert len(list(tmp_path.iterdir())) == 1
