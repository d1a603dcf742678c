"""Empty tables of an engine."""

from __future__ import annotations

import uuid
from typing import Any

from nilometer.aws.dynamodb import Store


def new_store(dynamodb: Any) -> Store:
    suffix = uuid.uuid4().hex[:12]
    for name, index in (("records", ["gsi1"]), ("events", [])):
        attributes = ["pk", "sk", *(f"{one}{key}" for one in index for key in ("pk", "sk"))]
        dynamodb.create_table(
            TableName=f"{name}-{suffix}",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in attributes],
            KeySchema=_key_schema(""),
            **{"GlobalSecondaryIndexes": [_index(one) for one in index]} if index else {},
        )
    return Store(dynamodb, records=f"records-{suffix}", events=f"events-{suffix}")


def _index(name: str) -> dict[str, Any]:
    return {"IndexName": name, "KeySchema": _key_schema(name), "Projection": {"ProjectionType": "ALL"}}


def _key_schema(prefix: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": f"{prefix}pk", "KeyType": "HASH"},
        {"AttributeName": f"{prefix}sk", "KeyType": "RANGE"},
    ]
