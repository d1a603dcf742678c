"""The clock of the tests of flows, the envelope of the bus, and what the operations flow makes of events."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.flows.operations import batch as operations
from nilometer.local.plane.engine import REGION

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def envelope(detail: Mapping[str, Any], *, source: str = "services") -> str:
    """An SQS body as the bus makes it."""
    return json.dumps(
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail["type"],
            "source": source,
            "account": "000000000000",
            "time": "2026-11-23T12:00:00Z",
            "region": REGION,
            "resources": [],
            "detail": detail,
        }
    )


def event(type_: str, data: dict[str, Any], *, id_: str = "e1", subject: str | None = None, second: int = 0) -> str:
    """An operations event of the console, as its queue delivers it."""
    cloud = {
        "specversion": "1.0",
        "id": id_,
        "source": "/services/console",
        "type": type_,
        "time": f"2026-11-23T04:00:{second:02}Z",
        "data": data,
        **({"subject": subject} if subject else {}),
    }
    return envelope(cloud)


def handle(store: Store, objects: Objects, *bodies: str) -> list[Outcome]:
    """What the operations flow makes of them, at `NOW`."""
    messages = [Message(str(n), body) for n, body in enumerate(bodies)]
    return [result.outcome for result in operations.handle(messages, store=store, objects=objects, now=NOW)]
