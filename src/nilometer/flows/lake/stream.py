"""A record of a DynamoDB stream into a change."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from nilometer.aws.items import from_attribute
from nilometer.domain.lake.change import Change, action_of, change_id, table_of
from nilometer.domain.store.writes import Key
from nilometer.errors import Rejected
from nilometer.flows.inbox.records import StreamRecord

EXPONENT = 130  # of a number; DynamoDB's own bound is 125


def change_of(record: StreamRecord) -> Change:
    """Raises any error for a record that is not as DynamoDB describes it."""
    stream = record["dynamodb"]
    images = {name: _item(stream[name]) for name in ("OldImage", "NewImage") if name in stream}
    keys = _item(stream["Keys"])
    return Change(
        change_id=change_id(record["eventSourceARN"], stream["SequenceNumber"]),
        table=table_of(stream["StreamViewType"]),
        action=action_of(record["eventName"], record.get("userIdentity")),
        key=Key(keys["pk"], keys["sk"]),
        old=images.get("OldImage"),
        new=images.get("NewImage"),
        sequence_number=stream["SequenceNumber"],
        occurred_at=int(stream["ApproximateCreationDateTime"]),
    )


def _item(image: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(attribute) for name, attribute in image.items()}


def _value(attribute: dict[str, Any]) -> Any:
    """As `from_attribute`; binary arrives as base64 text, at any depth."""
    [(tag, value)] = attribute.items()
    match tag:
        case "S":
            return value
        case "B" if isinstance(value, str):
            return base64.b64decode(value, validate=True)
        case "N" if not isinstance(value, str) or _is_beyond(value):
            raise Rejected("invalid_row", "a number is too large for a table")
        case "M":
            return _item(value)
        case "L":
            return [_value(inner) for inner in value]
    return from_attribute(attribute)


def _is_beyond(number: str) -> bool:
    """By its exponent: written out, nine characters would be a million."""
    return "e" in number.lower() and abs(Decimal(number).adjusted()) > EXPONENT
