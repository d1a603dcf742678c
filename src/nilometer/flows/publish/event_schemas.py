"""JSON Schemas of the events that services publish, made from the deeds that they report, and of what we announce.

`events/schemas/` holds them for producers and subscribers; a test keeps them current. Source: JSON Schema 2020-12,
CloudEvents 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from nilometer.domain.access import lockout
from nilometer.domain.events.cloudevents import NAME_LENGTH, SPECVERSION
from nilometer.flows.inbox.wire import first_line
from nilometer.flows.lake.batch_ready import BATCH_READY, BatchReady
from nilometer.flows.operations.types import TYPES, data_of, has_workspace

ANNOUNCED: Mapping[str, type] = {lockout.LOCKED_OUT: lockout.LockedOut}
"""Events that changes of people's records announce, besides `record.changed.v1`, with the type of their data."""

_NAME = {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH}


def schema(event_type: str) -> dict[str, Any]:
    """Of the whole CloudEvent. Extension attributes are allowed next to `data`; unknown fields in `data` are not."""
    optional = set() if has_workspace(TYPES[event_type]) else {"subject"}
    return _schema(event_type, data_of(event_type), optional=optional)


def batch_ready_schema() -> dict[str, Any]:
    """Of a batch for a dataset. It has an object or rows, never both."""
    whole = _schema(BATCH_READY, BatchReady, optional={"subject"})
    whole["$defs"]["BatchReady"]["oneOf"] = [{"required": ["object"]}, {"required": ["rows"]}]
    return whole


def announced_schema(event_type: str) -> dict[str, Any]:
    """Of an event of ours. Its data may grow: a subscriber passes over what he does not know."""
    return _schema(event_type, ANNOUNCED[event_type], optional=set())


def _schema(event_type: str, shape: type, *, optional: set[str]) -> dict[str, Any]:
    (data,), definitions = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    properties = {
        "specversion": {"const": SPECVERSION},
        "id": {**_NAME, "description": "With the source the identity of the fact, fixed before the first send"},
        "source": {**_NAME, "description": "The service"},
        "type": {"const": event_type},
        "time": {"type": "string", "format": "date-time", "description": "When it happened"},
        "subject": {**_NAME, "description": "The workspace"},
        "data": data,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event_type,
        "description": first_line(shape),
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "$defs": definitions,
    }
