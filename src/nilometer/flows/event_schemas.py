"""JSON Schemas of the events that services publish, made from the types that decode them.

`events/schemas/` holds them for producers; a test keeps them current. Source: JSON Schema 2020-12, CloudEvents 1.0.
"""

from __future__ import annotations

from typing import Any

import msgspec

from nilometer.domain.cloudevents import NAME_LENGTH, SPECVERSION
from nilometer.flows.operation_types import OperationType

_NAME = {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH}


def schema(event_type: str, row: OperationType) -> dict[str, Any]:
    """Of the whole CloudEvent. Extension attributes are allowed beside `data`, unknown fields in it are not."""
    (data,), definitions = msgspec.json.schema_components([row.data], ref_template="#/$defs/{name}")
    properties = {
        "specversion": {"const": SPECVERSION},
        "id": {**_NAME, "description": "With the source the identity of the fact, fixed before the first send"},
        "source": {**_NAME, "description": "The service"},
        "type": {"const": event_type},
        "time": {"type": "string", "format": "date-time", "description": "When it happened"},
        "subject": {**_NAME, "description": "The workspace"},
        "data": data,
    }
    optional = set() if row.has_workspace else {"subject"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event_type,
        "description": description(row),
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "$defs": definitions,
    }


def description(row: OperationType) -> str:
    """What such an event says: the first line of its data's docstring."""
    return (row.data.__doc__ or "").strip().partition("\n")[0]
