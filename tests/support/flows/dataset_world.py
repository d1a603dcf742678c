"""A service, its bucket and a lake on disk: what the tests of datasets share."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from tests.support.flows.operations import NOW, envelope

from nilometer import operator, perform
from nilometer.aws.dynamodb import Store
from nilometer.aws.landing import Landing
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.lake.dataset import DeclareDataset, DeclaredColumn
from nilometer.domain.store.writes import Item
from nilometer.flows.inbox.rejects import listed
from nilometer.flows.lake import datasets
from nilometer.lake.write.append import Lake


@dataclass
class World:
    """A service, its bucket and the lake."""

    store: Store
    objects: Objects
    landing: Landing
    lake: Lake
    now: datetime = NOW
    seconds: float = 30

    def declare(self, name: str = "orders", *columns: str, mode: str = "append", **given: Any) -> None:
        """Columns as `name:type[:null]`."""
        parts: Any = (column.split(":") for column in columns)
        made = [DeclaredColumn(name=n, type=t, nullable=bool(null)) for n, t, *null in parts]
        deed: Any = DeclareDataset(dataset=name, mode=mode, columns=made, **given)  # type: ignore[arg-type]
        perform(self.store, operator("ops"), deed, now=NOW)

    def land(self, *bodies: str) -> list[Result]:
        return self.settle([Message(str(n), body) for n, body in enumerate(bodies)])

    def settle(self, messages: Sequence[Message]) -> list[Result]:
        deadline = time.monotonic() + self.seconds
        return datasets.land(
            messages,
            store=self.store,
            objects=self.objects,
            landing=self.landing,
            lake=self.lake,
            now=self.now,
            deadline=deadline,
        )

    def outcomes(self, *bodies: str) -> list[Outcome]:
        return [result.outcome for result in self.land(*bodies)]

    def reason(self, body: str) -> Any:
        """Why it was refused, and that it is kept for that."""
        [result] = self.land(body)
        assert result.outcome is Outcome.REJECTED, result
        [kept] = [item for item in self.rejects() if item["payload"] == body]
        assert kept["reason"] == result.fields["reason"]
        return kept["reason"]

    def rejects(self) -> list[Item]:
        return list(listed(self.store, "datasets", since=self.now, now=self.now))

    def drop(self, rows: Sequence[Mapping[str, Any]], key: str = "landing/crm/1.ndjson") -> dict[str, Any]:
        """An object in the landing prefix, and its reference."""
        content = "\n".join(json.dumps(row) for row in rows).encode()
        return {"key": key, "etag": self.landing.put(key, content), "format": "ndjson"}

    def table(self, name: str = "orders") -> DeltaTable:
        return DeltaTable(f"{self.lake.uri}/datasets/{name}")

    def rows(self, name: str = "orders") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.table(name).to_pyarrow_table().to_pylist()
        return sorted(found, key=str)

    def ids(self, name: str = "orders") -> list[Any]:
        return [row["id"] for row in self.rows(name)]


def new_world(store: Store, objects: Objects, folder: Path) -> World:
    landing = Landing(objects._client, bucket=objects.bucket)
    return World(store, objects, landing, Lake(uri=str(folder / "lake"), storage_options={}))


def batch(id_: str, dataset: str = "orders", **data: Any) -> str:
    """`dataset.batch_ready.v1` as its queue delivers it."""
    return envelope(
        {
            "specversion": "1.0",
            "id": id_,
            "source": "/services/crm",
            "type": "dataset.batch_ready.v1",
            "time": "2026-11-23T04:00:00Z",
            "data": {"dataset": dataset, **data},
        }
    )
