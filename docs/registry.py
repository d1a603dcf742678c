"""schemas.yaml: the announced events in a registry of EventBridge, which makes code bindings of them.

EventBridge reads JSON Schema draft 4 and the whole event as a rule's target gets it.
Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-schema.html.
"""

from __future__ import annotations

import json
from typing import Any

from nilometer.flows.inbox.envelope import CHANGES
from nilometer.flows.lake.kinds import ANNOUNCED
from nilometer.flows.publish.event_schemas import announced_schema

DRAFT = "http://json-schema.org/draft-04/schema#"
_HEAD = """\
AWSTemplateFormatVersion: "2010-09-09"
Description: nilometer - the events that a stack announces, in a schema registry of EventBridge

# Made by docs/generate.py. A stack beside the stack itself, for who wants code bindings; it costs nothing.
# sam deploy --template-file schemas.yaml --stack-name nilometer-prod-schemas --resolve-s3 \\
#   --parameter-overrides Name=nilometer-prod

Parameters:
  Name:
    Type: String
    Default: nilometer
    AllowedPattern: "^[0-9A-Za-z_.-]{1,64}$"
    Description: Of the registry

Resources:
  Registry:
    Type: AWS::EventSchemas::Registry
    Properties:
      RegistryName: !Ref Name
      Description: Events that nilometer announces
"""
_SCHEMA = """\

  {resource}:
    Type: AWS::EventSchemas::Schema
    Properties:
      RegistryName: !GetAtt Registry.RegistryName
      SchemaName: {source}@{type}
      Type: JSONSchemaDraft4
      Description: {says}
      Content: '{content}'
"""


def template() -> str:
    """One resource a type."""
    return _HEAD + "".join(_resource(name) for name in sorted(ANNOUNCED))


def registered(event_type: str) -> dict[str, Any]:
    """The schema of the event as EventBridge delivers it, in draft 4."""
    schema = announced_schema(event_type)
    texts = {name: {"type": "string"} for name in ("version", "id", "account", "time", "region")}
    detail = {name: one for name, one in schema.items() if name not in {"$schema", "$id", "$defs"}}
    properties = {
        **texts,
        "detail-type": {"enum": [event_type]},
        "source": {"enum": [CHANGES]},
        "resources": {"type": "array", "items": {"type": "string"}},
        "detail": _older(detail),
    }
    return {
        "$schema": DRAFT,
        "id": schema["$id"],
        "title": event_type,
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "definitions": _older(schema["$defs"]),
    }


def _resource(event_type: str) -> str:
    content = json.dumps(registered(event_type), separators=(",", ":")).replace("'", "''")
    resource = "".join(word.capitalize() for part in event_type.split(".") for word in part.split("_"))
    says = json.dumps(announced_schema(event_type)["description"][:255])
    return _SCHEMA.format(resource=resource, source=CHANGES, type=event_type, says=says, content=content)


def _older(schema: Any) -> Any:
    """Draft 4 has no `const`, no `examples`, no empty `required`, and `definitions` for `$defs`."""
    match schema:
        case {"$ref": str(reference)}:
            return {"$ref": reference.replace("#/$defs/", "#/definitions/")}
        case {"const": value}:
            return {"enum": [value]}
        case dict():
            return {name: _older(one) for name, one in schema.items() if name != "examples" and one != []}
        case list():
            return [_older(one) for one in schema]
        case _:
            return schema
