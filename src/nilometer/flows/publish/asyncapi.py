"""AsyncAPI 3.0 of the bus: one channel, what the stack takes from it and what it announces.

`docs/asyncapi.json` holds it, written by docs/generate.py. The payloads are the JSON Schemas of `events/schemas`, their
definitions moved to where AsyncAPI has them. Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nilometer.flows.lake.kinds import ANNOUNCED
from nilometer.flows.publish.event_schemas import all_schemas

_HEAD = ("$schema", "$id", "$defs")


def document() -> dict[str, Any]:
    """The whole description, the same for the same types."""
    found = all_schemas()
    taken = [name for name in found if name not in ANNOUNCED]
    announced = [name for name in found if name in ANNOUNCED]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "nilometer", "version": "1", "description": "Events of usage, billing, limits and people."},
        "defaultContentType": "application/json",
        "channels": {
            "bus": {
                "address": "nilometer",
                "description": "The EventBridge bus of the stack. The detail type is the event's type.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in found},
            }
        },
        "operations": {
            "take": _operation("receive", "What services and Stripe send", taken),
            "announce": _operation("send", "What changed, each once", announced),
        },
        "components": {
            "messages": {name: _message(name, schema) for name, schema in found.items()},
            "schemas": {name: one for event_type, schema in found.items() for name, one in _parts(event_type, schema)},
        },
    }


def _operation(action: str, summary: str, names: Iterable[str]) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/bus"},
        "messages": [{"$ref": f"#/channels/bus/messages/{name}"} for name in names],
    }


def _message(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "summary": schema["description"],
        "x-schema-id": schema["$id"],
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }


def _parts(event_type: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schema, and each of its definitions under a name that no other type has."""
    yield event_type, _moved({name: one for name, one in schema.items() if name not in _HEAD}, event_type)
    for name, one in schema.get("$defs", {}).items():
        yield f"{event_type}.{name}", _moved(one, event_type)


def _moved(schema: Any, event_type: str) -> Any:
    match schema:
        case {"$ref": str(reference)}:
            name = reference.removeprefix("#/$defs/")
            return {**schema, "$ref": f"#/components/schemas/{event_type}.{name}"}
        case dict():
            return {name: _moved(one, event_type) for name, one in schema.items()}
        case list():
            return [_moved(one, event_type) for one in schema]
        case _:
            return schema
