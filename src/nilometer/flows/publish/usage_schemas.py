"""JSON Schemas (draft 2020-12) of the usage events: what a producer in another language checks before it sends.

`events/schemas/` holds them as files, written by `python -m nilometer.flows.publish.usage_schemas`; a test checks them.
What needs the tables or the clock (a meter's unit, the window) no schema can say: the consumer checks everything again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from nilometer.domain.events.cloudevents import NAME_LENGTH, SPECVERSION
from nilometer.domain.usage.event import BATCH, DIMENSION_LENGTH, RECORDED, SNAPSHOT, VOIDED
from nilometer.domain.usage.meter import DIMENSIONS, SLUG, UNIT_LENGTH
from nilometer.flows.usage.events import EVENTS

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MEANINGS = {
    RECORDED: "Usage of a meter happened.",
    SNAPSHOT: "A gauge has this level.",
    VOIDED: "A usage event is taken back.",
    BATCH: f"Up to {EVENTS:,} usage events in one.",
}

_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH}
_TIME: Schema = {"type": "string", "format": "date-time"}
_QUANTITY: Schema = {
    "description": "Exact and not negative; a string, or a whole JSON number. Never a float.",
    "oneOf": [
        {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?$"},
        {"type": "integer", "minimum": 0, "maximum": 10**15 - 1},
    ],
}
_AMOUNT: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["meter", "quantity", "unit"],
    "properties": {
        "meter": {"type": "string", "pattern": f"^{SLUG.pattern}$"},
        "quantity": _QUANTITY,
        "unit": {"type": "string", "maxLength": UNIT_LENGTH, "description": "The meter's own."},
        "dimensions": {
            "type": "object",
            "maxProperties": DIMENSIONS,
            "additionalProperties": {"type": "string", "maxLength": DIMENSION_LENGTH},
        },
        "reservation_id": {**_NAME, "description": "The reservation that this usage settles."},
    },
}
_VOID: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id"],
    "properties": {
        "id": {**_NAME, "description": "Of the event that is taken back."},
        "source": {**_NAME, "description": "Of that event; this event's own unless given."},
        "time": {**_TIME, "description": "Of that event: says when it is too old to be found."},
        "reason": {"type": "string"},
    },
}
_DATA = {RECORDED: _AMOUNT, SNAPSHOT: _AMOUNT, VOIDED: _VOID}


def schema_id(event_type: str) -> str:
    """`$id` of the schema of a type: a name, not an address."""
    return f"urn:nilometer:schema:{event_type}"


def schemas() -> dict[str, Schema]:
    """By event type."""
    return {**{type_: _document(type_, data) for type_, data in _DATA.items()}, BATCH: _document(BATCH, _batch())}


def _document(type_: str, data: Schema) -> Schema:
    subject = [] if type_ == BATCH else ["subject"]
    return {
        "$schema": DIALECT,
        "$id": schema_id(type_),
        "title": type_,
        "description": _MEANINGS[type_],
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "data", *subject],
        "properties": {
            "specversion": {"const": SPECVERSION},
            "id": {**_NAME, "description": "With source the identity: the fact's own, fixed before the first send."},
            "source": _NAME,
            "type": {"const": type_},
            "subject": {**_NAME, "description": "The workspace."},
            "time": {**_TIME, "description": "When it happened: decides the period, never changes."},
            "data": data,
        },
    }


def _batch() -> Schema:
    elements = [
        {
            "type": "object",
            "required": ["id", "time", "data", *([] if type_ == RECORDED else ["type"])],
            "properties": {
                "specversion": {"const": SPECVERSION},
                "id": _NAME,
                "source": _NAME,
                "subject": _NAME,
                "time": _TIME,
                "type": {"const": type_},
                "data": data,
            },
        }
        for type_, data in _DATA.items()
    ]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["events"],
        "properties": {
            "events": {
                "type": "array",
                "minItems": 1,
                "maxItems": EVENTS,
                "description": "What an element leaves out is the batch's own.",
                "items": {"oneOf": elements},
            }
        },
    }


def text(schema: Schema) -> str:
    """As it stands in its file."""
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "events/schemas")
    for name, document in schemas().items():
        (folder / f"{name}.json").write_text(text(document))
