"""What the last release keeps is kept by this one: no resource with state goes, is replaced, or loses its stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from tests.support.cloudformation import Template
from tests.support.project import ROOT

# A change of these makes a new, empty resource, or another stream. Source: CloudFormation's resource reference.
REPLACES = {
    "AWS::DynamoDB::Table": ("TableName", "KeySchema", "LocalSecondaryIndexes", "StreamSpecification"),
    "AWS::S3::Bucket": ("BucketName", "ObjectLockEnabled"),
    "AWS::Events::EventBus": ("Name",),
    "AWS::SQS::Queue": ("QueueName", "FifoQueue"),
    "AWS::SecretsManager::Secret": ("Name",),
    "AWS::ApiGatewayV2::Api": ("ProtocolType",),
}
RELEASED = Path(__file__).parent / "released.json"


def state(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Of each resource that keeps something: its type, and what must not change."""
    return {
        name: {
            "type": one["Type"],
            "kept": {key: one["Properties"][key] for key in REPLACES[one["Type"]] if _is_said(one, key)},
            "attributes": one["Properties"].get("AttributeDefinitions", []),
            "policy": one.get("DeletionPolicy"),
        }
        for name, one in resources.items()
        if one["Type"] in REPLACES
    }


def _is_said(resource: Mapping[str, Any], key: str) -> bool:
    """A name that a table has only where it was adopted is none for a stack of before."""
    said = resource.get("Properties", {}).get(key)
    return said is not None and not (key == "TableName" and said["Fn::If"][2] == {"Ref": "AWS::NoValue"})


@pytest.fixture(scope="module")
def released() -> dict[str, Any]:
    """Of the last release's template; written again when a release is made (docs/upgrade.md)."""
    found: dict[str, Any] = json.loads(RELEASED.read_text())
    return found


def test_nothing_that_keeps_state_goes_or_is_replaced(template: Template, released: dict[str, Any]) -> None:
    """Same logical id, type and keys: a deployment over the last release finds every item, object and message."""
    now = state(template.resources)

    assert set(released) <= set(now)
    assert {name: one["kept"] for name, one in released.items()} == {name: now[name]["kept"] for name in released}
    assert {name: one["type"] for name, one in released.items()} == {name: now[name]["type"] for name in released}


def test_keys_are_of_the_same_kind(template: Template, released: dict[str, Any]) -> None:
    """An index may come; an attribute of a key never changes its type."""
    now = state(template.resources)
    for name, one in released.items():
        known = {found["AttributeName"]: found["AttributeType"] for found in now[name]["attributes"]}
        assert all(known[a["AttributeName"]] == a["AttributeType"] for a in one["attributes"])


def test_what_outlives_its_stack_still_does(template: Template, released: dict[str, Any]) -> None:
    """Tables and bucket stay when the stack, or the resource, is removed."""
    now = state(template.resources)

    assert {n: now[n]["policy"] for n, one in released.items() if one["policy"]} == {
        n: one["policy"] for n, one in released.items() if one["policy"]
    }


def test_a_new_parameter_has_a_default(template: Template) -> None:
    """An upgrade asks for nothing: what is not given behaves as before."""
    assert all("Default" in one for one in template.body["Parameters"].values())


def release() -> None:
    """Writes down what this template keeps, when it is released."""
    kept = state(cfn_yaml.load(str(ROOT / "template.yaml"))["Resources"])
    RELEASED.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    release()
