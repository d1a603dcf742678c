"""Empty tables of an engine."""

from __future__ import annotations

import uuid
from typing import Any

from nilometer.aws.dynamodb import Store

RECORDS = (("gsi1", ("gsi1pk", "gsi1sk"), "ALL"), ("gsi2", ("gsi2pk", "pk"), "KEYS_ONLY"))


def new_store(dynamodb: Any) -> Store:
    suffix = uuid.uuid4().hex[:12]
    for name, indexes in (("records", RECORDS), ("events", ())):
        attributes = dict.fromkeys(["pk", "sk", *(key for _, named, _ in indexes for key in named)])
        dynamodb.create_table(
            TableName=f"{name}-{suffix}",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in attributes],
            KeySchema=_key_schema(("pk", "sk")),
            **{"GlobalSecondaryIndexes": [_index(*one) for one in indexes]} if indexes else {},
        )
    return Store(dynamodb, records=f"records-{suffix}", events=f"events-{suffix}")


def _index(name: str, named: tuple[str, str], projection: str) -> dict[str, Any]:
    return {"IndexName": name, "KeySchema": _key_schema(named), "Projection": {"ProjectionType": projection}}


def _key_schema(named: tuple[str, str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(named, ("HASH", "RANGE"), strict=True)]
