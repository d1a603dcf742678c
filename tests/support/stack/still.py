"""A stack of tables and lake alone, as a console sees it: nothing is in a queue, and nothing moves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.console.place import Place
from nilometer.flows.recovery.refused import Lane
from nilometer.lake.read.ledger import Ledger


class Silence:
    """A feed without lines."""

    def poll(self) -> list[str]:
        return []


def still(store: Store, objects: Objects, lake: Mapping[str, Any], **others: Any) -> Place:
    """`others` are further fields of the place."""
    idle = {"queues": {}, "dead_letters": {}, "streams": {}, "idle": True}
    fields: dict[str, Any] = {
        "name": "still",
        "where": "this machine",
        "feed": Silence(),
        "status": lambda: idle,
        "boxes": list,
        "reasons": lambda *_: {},
        "lane": lambda: Lane(
            store=store, objects=objects, now=datetime.now(UTC), send=lambda *_: None, relay=lambda _: None
        ),
        "datasets": list,
        "timers": list,
        "again": lambda _: None,
    }
    return Place(store=store, objects=objects, ledger=Ledger(**lake), lake=lake, **{**fields, **others})
