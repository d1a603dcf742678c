"""JSON Schemas of all events of the bus: what services publish, made from the deeds that they report, what the webhook
brings, and what the stack announces.

`events/schemas/` holds them for producers and subscribers; a test keeps them current. Source: JSON Schema 2020-12,
CloudEvents 1.0.
"""

from __future__ import annotations

from typing import Any

import msgspec

from nilometer.domain.events.cloudevents import NAME_LENGTH, SPECVERSION
from nilometer.domain.lake.dataset import BATCH_READY
from nilometer.flows.billing.webhook import WebhookEvent
from nilometer.flows.inbox.envelope import CHANGES
from nilometer.flows.inbox.wire import first_line
from nilometer.flows.lake.batch_event import BatchReady
from nilometer.flows.lake.kinds import ANNOUNCED
from nilometer.flows.operations.types import TYPES, data_of, has_workspace
from nilometer.flows.publish.announced import announced_data
from nilometer.flows.publish.usage_schemas import DIALECT, schema_id, schemas

STRIPE_EVENT = "stripe.event"
"""The schema of what the webhook publishes, whatever Stripe's type is."""

_NAME = {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH}
_IDENTITY = "With the source the identity of the fact, fixed before the first send"


def all_schemas() -> dict[str, dict[str, Any]]:
    """Of every event that comes in or goes out, by type."""
    return {
        **{event_type: schema(event_type) for event_type in TYPES},
        **schemas(),
        BATCH_READY: batch_ready_schema(),
        STRIPE_EVENT: stripe_event_schema(),
        **{event_type: announced_schema(event_type) for event_type in sorted(ANNOUNCED)},
    }


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
    shape = announced_data(event_type)
    owned = "workspace_id" in _required(shape)
    whole = _schema(event_type, shape, optional=set() if owned else {"subject"})
    sure = {
        "id": {"type": "string", "minLength": 1, "description": "The same each time the change is delivered: keep it"},
        "source": {"const": CHANGES},
        "datacontenttype": {"const": "application/json"},
    }
    return {**whole, "properties": {**whole["properties"], **sure}, "required": [*whole["required"], "datacontenttype"]}


def stripe_event_schema() -> dict[str, Any]:
    """Of Stripe's own event, as the webhook took it, or of a reference to it. The detail type is Stripe's."""
    (_, definitions) = msgspec.json.schema_components([WebhookEvent], ref_template="#/$defs/{name}")
    shape = definitions["WebhookEvent"]
    claim = {"type": "string", "description": "Key in the bucket of the whole event, of one over 200 KB; else absent"}
    return {
        "$schema": DIALECT,
        "$id": schema_id(STRIPE_EVENT),
        "title": STRIPE_EVENT,
        "description": "An event of Stripe as the webhook took it; Stripe's own reference describes `data`.",
        "type": "object",
        "properties": {**shape["properties"], "claim": claim},
        "required": shape["required"],
    }


def _required(shape: type) -> set[str]:
    """Fields that are always there and never null."""
    (_, definitions) = msgspec.json.schema_components([shape])
    found = definitions[shape.__name__]
    return {name for name in found["required"] if {"type": "null"} not in found["properties"][name].get("anyOf", ())}


def _schema(event_type: str, shape: type, *, optional: set[str]) -> dict[str, Any]:
    (data,), definitions = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    properties = {
        "specversion": {"const": SPECVERSION},
        "id": {**_NAME, "description": _IDENTITY},
        "source": {**_NAME, "description": "The service"},
        "type": {"const": event_type},
        "time": {"type": "string", "format": "date-time", "description": "When it happened"},
        "subject": {**_NAME, "description": "The workspace"},
        "data": data,
    }
    return {
        "$schema": DIALECT,
        "$id": schema_id(event_type),
        "title": event_type,
        "description": first_line(shape),
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "$defs": definitions,
    }
