"""A dataset has an owner, ends in steps, and may be partitioned by a column of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.flows.dataset_world import World, batch, new_world
from tests.support.flows.operations import NOW, event, handle

from nilometer import ChangeDataset, operator, perform
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.lake.dataset import DatasetStatus
from nilometer.errors import Rejected
from nilometer.flows.lake import declaring
from nilometer.flows.lake.maintenance import all_tables, maintain

CRM = "/services/crm"  # the source of `batch`
CLOSED = ("2026-11-01", "2026-11-02")


@pytest.fixture
def world(store: Store, objects: Objects, tmp_path: Path) -> World:
    return new_world(store, objects, tmp_path)


def change(world: World, **given: Any) -> bool:
    return perform(world.store, operator("ops"), ChangeDataset(dataset="orders", **given), now=NOW)


def inline(id_: str, *ids: str) -> str:
    return batch(id_, rows=[{"id": one} for one in ids])


def test_only_its_owner_feeds_it(world: World) -> None:
    """Another source is refused with a reason that says who may; given to it, the same batch lands."""
    world.declare("orders", "id:string", owner="/services/erp")
    assert world.reason(inline("b1", "1")) == "not_owner"

    assert [change(world, owner=CRM) for _ in range(2)] == [True, False]
    assert world.outcomes(inline("b1", "1")) == [Outcome.ACCEPTED]
    assert change(world, owner=None)
    assert world.outcomes(inline("b2", "2")) == [Outcome.ACCEPTED]


def test_an_owner_is_named_once_and_does_not_go_by_declaring_again(world: World) -> None:
    """Whoever declares without one keeps it; whoever names another is refused."""
    world.declare("orders", "id:string")
    world.declare("orders", "id:string", owner=CRM)
    world.declare("orders", "id:string", "note:string:null")

    assert (found := declaring.declared(world.store, "orders"))
    assert found.owner == CRM
    with pytest.raises(Rejected, match="its owner is"):
        world.declare("orders", "id:string", "note:string:null", owner="/services/erp")


def test_a_dropped_dataset_takes_nothing_until_it_is_restored(world: World) -> None:
    """What landed stays and is still known as landed; a deprecated one works as before."""
    world.declare("orders", "id:string")
    assert change(world, status="deprecated", note="use people")
    assert world.outcomes(inline("b1", "1")) == [Outcome.ACCEPTED]
    assert change(world, status="dropped")

    assert world.reason(inline("b2", "2")) == "dataset_dropped"
    assert "datasets/orders" not in [one.name for one in all_tables(world.store)]
    world.declare("orders", "id:string", "note:string:null")
    assert (found := declaring.declared(world.store, "orders"))
    assert (found.status, found.note) == (DatasetStatus.DROPPED, "use people")
    assert change(world, status="active")
    assert world.outcomes(inline("b1", "1"), inline("b2", "2")) == [Outcome.DUPLICATE, Outcome.ACCEPTED]
    assert world.ids() == ["1", "2"]


def test_of_two_changes_the_later_one_holds(store: Store, objects: Objects) -> None:
    """In whatever order they come; one that comes before the declaration waits."""
    declared = {"dataset": "orders", "mode": "append", "columns": [{"name": "id", "type": "string"}]}
    early = event("dataset.changed.v1", {"dataset": "orders", "status": "dropped"}, id_="c1", second=1)
    late = event("dataset.changed.v1", {"dataset": "orders", "status": "active"}, id_="c2", second=2)

    assert handle(store, objects, late, event("dataset.declared.v1", declared)) == [
        Outcome.WAITING,
        Outcome.ACCEPTED,
    ]
    assert handle(store, objects, late, early) == [Outcome.ACCEPTED] * 2
    assert (found := declaring.declared(store, "orders"))
    assert found.status is DatasetStatus.ACTIVE


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_a_dataset_is_partitioned_by_its_own_column(world: World, mode: str) -> None:
    """Batches land once, rows that move to another day move, and compaction keeps each day's files apart."""
    merge = {"key": ("id",), "order_by": "n"} if mode == "merge" else {}
    world.declare("orders", "id:string", "n:int64", "day:date", mode=mode, partition_by="day", **merge)
    rows = [{"id": str(n % 4), "n": n, "day": CLOSED[n % 2]} for n in range(12)]
    for n, row in enumerate(rows):
        assert world.outcomes(batch(f"b{n}", rows=[row]), batch(f"b{n}", rows=[row]))[0] is Outcome.ACCEPTED
    assert world.table().metadata().partition_columns == ["day"]

    before = world.rows()
    [table] = [one for one in all_tables(world.store) if one.name == "datasets/orders"]
    [report] = maintain(world.lake, now=NOW, deadline=float("inf"), tables=[table])
    assert report.stopped is None
    assert world.rows() == before
    assert len(before) == (4 if mode == "merge" else 12)
    assert all(f"day={day}" in str(world.table().file_uris()) for day in CLOSED)
    assert len(world.table().file_uris()) == len(CLOSED)


@pytest.mark.parametrize("column", ["note", "n", "nowhere"])
def test_a_partition_is_a_date_or_a_text_that_every_row_has(world: World, column: str) -> None:
    """And is fixed for good."""
    with pytest.raises(Rejected, match="partition_by"):
        world.declare("orders", "id:string", "n:int64", "note:string:null", partition_by=column)
    world.declare("orders", "id:string", "kind:string", partition_by="kind")
    with pytest.raises(Rejected, match="partition_by is kind for good"):
        world.declare("orders", "id:string", "kind:string")
