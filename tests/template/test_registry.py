"""schemas.yaml: a registry of EventBridge with what the stack announces."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
from cfnlint.decode import cfn_yaml
from docs.site.reference import samples_of
from tests.support.project import ROOT

from nilometer.flows.lake.kinds import ANNOUNCED


def schemas() -> Mapping[str, Any]:
    """The content of each by its name, from the file that is deployed."""
    resources = cfn_yaml.load(str(ROOT / "schemas.yaml"))["Resources"].values()
    return {
        one["Properties"]["SchemaName"]: json.loads(one["Properties"]["Content"])
        for one in resources
        if one["Type"] == "AWS::EventSchemas::Schema"
    }


def test_cfn_lint_has_nothing_to_say_of_the_registry() -> None:
    """Types, properties and references are CloudFormation's."""
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "schemas.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_announced_event_is_in_the_registry() -> None:
    """In draft 4, which EventBridge reads; each sample follows it as it is delivered, and no other event does."""
    found = schemas()

    assert found.keys() == {f"nilometer.changes@{name}" for name in ANNOUNCED}
    for name in ANNOUNCED:
        schema = found[f"nilometer.changes@{name}"]
        validator = jsonschema.Draft4Validator(schema)
        validator.check_schema(schema)
        for path in samples_of(name):
            sample = json.loads(path.read_text())
            validator.validate(sample)
            assert not validator.is_valid({**sample, "detail-type": "other"})
            assert not validator.is_valid({**sample, "detail": {}})


def test_a_deployment_takes_the_template() -> None:
    """One of a file has 1 MB and 500 resources, and a schema 100,000 characters."""
    text = (ROOT / "schemas.yaml").read_text()

    assert len(text) < 400_000
    assert len(schemas()) < 250
    assert max(len(json.dumps(one)) for one in schemas().values()) < 100_000
