"""A workspace with a limit, what it uses, and the alerts that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE, cloud, handle, outcomes

from nilometer.aws.dynamodb import Store
from nilometer.aws.items import marshal
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Result
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Put, Table
from nilometer.flows.limits.reactions import react
from nilometer.flows.usage.known import Known


def limited(store: Store, *, meter: str = "api_calls", **rule: Any) -> None:
    """A billing record with one limit."""
    key = keys.billing(WORKSPACE)
    item = {
        "pk": key.pk,
        "sk": key.sk,
        "kind": "billing",
        "version": 1,
        "workspace_id": WORKSPACE,
        "periods": [],
        "limit_rules": {meter: {"source": "plan", "version": "v1", **rule}},
    }
    store.commit([Put(table=Table.RECORDS, item=item)])


def use(store: Store, objects: Objects, quantity: int, id_: str) -> None:
    assert outcomes(handle(store, objects, cloud(id_, quantity=str(quantity)))) == ["accepted"]


def records(items: Sequence[Item]) -> list[Mapping[str, Any]]:
    """Stream records with these new images."""
    return [
        {"eventName": "MODIFY", "dynamodb": {"SequenceNumber": str(n), "NewImage": marshal(item)}}
        for n, item in enumerate(items)
    ]


def changes(store: Store) -> list[Mapping[str, Any]]:
    """Everything in the workspace, as the stream would say it changed."""
    return records(list(store.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", consistent=True)))


def alerts(store: Store) -> list[tuple[str, str]]:
    found = store.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="ALERT#")
    return sorted((item["threshold"], item["limit_version"]) for item in found)


def look(store: Any) -> list[Result]:
    return react(changes(store), known=Known(store), now=NOW)
