"""DynamoDB's streams as Lambda reads them: in order, again from the first failure, in halves, and not for ever."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.simulation.kernel.world import World
from tests.support.simulation.services.dynamodb import StreamChange
from tests.support.simulation.services.template import streams

from nilometer.domain.events.outcome import Outcome, Result
from nilometer.domain.store.writes import Table

Records = Sequence[dict[str, Any]]
_VIEWS = {Table.RECORDS.value: "NEW_AND_OLD_IMAGES", Table.EVENTS.value: "NEW_IMAGE"}


def record(change: StreamChange) -> dict[str, Any]:
    """One record as Lambda hands it over."""
    name = "INSERT" if change.old is None else "MODIFY" if change.new is not None else "REMOVE"
    images = {"NewImage": change.new, "OldImage": change.old if change.table == Table.RECORDS else None}
    dynamodb = {
        "Keys": {"pk": {"S": change.key[0]}, "sk": {"S": change.key[1]}},
        "SequenceNumber": f"{change.number:021}",
        "StreamViewType": _VIEWS[change.table],
        "ApproximateCreationDateTime": change.second,
        **{image: _wire({"M": value})["M"] for image, value in images.items() if value is not None},
    }
    ttl = {"userIdentity": {"principalId": "dynamodb.amazonaws.com", "type": "Service"}} if change.expired else {}
    arn = f"arn:aws:dynamodb:us-east-1:1:table/{change.table}/stream/2026-11-23T00:00:00.000"
    return {"eventName": name, "eventSourceARN": arn, "dynamodb": dynamodb, **ttl}


def _wire(value: Any) -> Any:
    [(tag, content)] = value.items()
    match tag:
        case "S" | "N":
            return value
        case "B":
            return {"B": base64.b64encode(content).decode()}
        case "M":
            return {"M": {name: _wire(inner) for name, inner in content.items()}}
        case "L":
            return {"L": [_wire(inner) for inner in content]}
    return value


@dataclass
class SimShard:
    """One shard and its function. `given_up` is what was sent to the bucket of failures instead."""

    world: World
    name: str
    handle: Callable[[Records], list[Result]]
    mapping: str
    given_up: list[dict[str, Any]] = field(default_factory=list)

    def read(
        self,
        records: Records,
        *,
        attempt: int = 0,
        batch: int | None = None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """Goes through `records` in batches of at most `batch`, each until it is done or given up."""
        source = streams()[self.mapping]
        size = min(batch or source.batch, source.batch)
        some, rest = records[:size], records[size:]
        if not some:
            after()
            return

        def done(results: list[Result] | None) -> None:
            failed = 0 if results is None else _first_failed(results)
            if failed is None:
                self.read(rest, batch=batch, after=after)
            elif failed:
                self.read([*some[failed:], *rest], batch=batch, after=after)
            elif attempt >= source.retries:
                self.given_up += some
                self.read(rest, batch=batch, after=after)
            elif results is None and source.bisects and len(some) > 1:
                self.read(records, attempt=attempt + 1, batch=len(some) // 2, after=after)
            else:
                self.read(records, attempt=attempt + 1, batch=batch, after=after)

        self.world.spawn(f"{self.name} {len(records)}/{attempt}", lambda: self.handle(some), done)


def _first_failed(results: Sequence[Result]) -> int | None:
    return next((place for place, one in enumerate(results) if one.outcome is Outcome.FAILED), None)
