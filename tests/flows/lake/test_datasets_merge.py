"""A dataset that merges holds one row a key, the highest, in whatever order and however often batches come."""

from __future__ import annotations

import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.faulty import Killed
from tests.support.flows.dataset_world import World, batch, new_world

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Outcome
from nilometer.lake.write import batches as batches_module

Rows = list[dict[str, Any]]


@pytest.fixture
def contacts(store: Store, objects: Objects, tmp_path: Path) -> World:
    """One row a region and id, the newest revision."""
    world = new_world(store, objects, tmp_path)
    columns = ("region:string", "id:int64", "revision:int64", "stage:string:null")
    world.declare("orders", *columns, mode="merge", key=["region", "id"], order_by="revision")
    return world


def row(id_: int, revision: int, stage: str | None = None, region: str = "eu") -> dict[str, Any]:
    return {"region": region, "id": id_, "revision": revision, "stage": stage}


def stages(world: World) -> dict[tuple[str, int], tuple[int, str | None]]:
    found = world.rows()
    by_key = {(one["region"], one["id"]): (one["revision"], one["stage"]) for one in found}
    assert len(by_key) == len(found), "a key is there twice"
    return by_key


def test_a_later_row_replaces_and_a_late_one_does_not(contacts: World) -> None:
    """All of a key counts, and a row may become null."""
    contacts.land(batch("b1", rows=[row(1, 5, "new"), row(2, 5, "new"), row(1, 5, "us", region="us")]))
    contacts.land(batch("b2", rows=[row(1, 6, None), row(2, 4, "late"), row(3, 1, "new")]))

    assert stages(contacts) == {
        ("eu", 1): (6, None),
        ("eu", 2): (5, "new"),
        ("eu", 3): (1, "new"),
        ("us", 1): (5, "us"),
    }


def test_of_a_batch_the_highest_row_of_a_key_counts(contacts: World) -> None:
    """Of equal ones the one that stands later."""
    contacts.land(batch("b1", rows=[row(1, 7, "high"), row(1, 3, "low"), row(2, 1, "first"), row(2, 1, "second")]))

    assert stages(contacts) == {("eu", 1): (7, "high"), ("eu", 2): (1, "second")}


def test_a_batch_again_is_a_duplicate_and_an_id_again_is_refused(contacts: World) -> None:
    body = batch("b1", rows=[row(1, 5, "new")])

    assert contacts.outcomes(body, body) == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert contacts.reason(batch("b1", rows=[row(1, 9, "other")])) == "id_reuse"


def test_a_batch_of_late_rows_alone_changes_nothing(contacts: World) -> None:
    """It commits nothing, so nothing is known of it; coming again it changes nothing again."""
    contacts.land(batch("b1", rows=[row(1, 5, "new")]))
    version = contacts.table().version()

    assert contacts.outcomes(*[batch("b2", rows=[row(1, 4, "late")])] * 2) == [Outcome.ACCEPTED] * 2
    assert (contacts.table().version(), stages(contacts)) == (version, {("eu", 1): (5, "new")})


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_any_order_of_batches_ends_in_the_same_rows(contacts: World, order: tuple[int, ...]) -> None:
    """Ties included: they are settled by the batch, not by who came first."""
    bodies = [
        batch("b1", rows=[row(1, 5, "b1"), row(2, 9, "b1")]),
        batch("b2", rows=[row(1, 5, "b2"), row(2, 1, "b2"), row(3, 1, "b2")]),
        batch("b3", rows=[row(1, 4, "b3"), row(3, 1, "b3")]),
    ]

    contacts.land(*(bodies[number] for number in (*order, *order)))

    assert stages(contacts) == {("eu", 1): (5, "b2"), ("eu", 2): (9, "b1"), ("eu", 3): (1, "b3")}


@pytest.mark.parametrize("type_", ["string", "date", "timestamp", "decimal"])
def test_any_order_type_orders_as_it_should(contacts: World, type_: str) -> None:
    """Text by its code points, in the batch as in the table."""
    values = {
        "string": ["B", "a", "é", "\uffff", "\U0001f600"],
        "date": ["0999-12-31", "2026-02-28", "2026-11-23"],
        "timestamp": ["2026-11-23T05:00:00+01:00", "2026-11-23T04:00:00.000001Z"],
        "decimal": ["-2.5", "-1", "0.000000001", "10"],
    }[type_]
    contacts.declare("by", "id:int64", f"at:{type_}", "n:int64", mode="merge", key=["id"], order_by="at")
    rows = [{"id": 1, "at": value, "n": n} for n, value in enumerate(values)]
    shuffled = random.Random(5).sample(rows, len(rows))

    contacts.land(batch("whole", "by", rows=[{**one, "id": 2} for one in shuffled]))
    contacts.land(*(batch(f"b{n}", "by", rows=[one]) for n, one in enumerate(shuffled)))

    assert [one["n"] for one in contacts.rows("by")] == [len(values) - 1] * 2


def test_a_process_that_dies_leaves_all_of_a_merge_or_nothing(contacts: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its commit and after it."""
    commit = batches_module._commit
    for number, landed in enumerate([False, True]):

        def dying(*given: Any, landed: bool = landed) -> None:
            if landed:
                commit(*given)
            raise Killed

        body = batch(f"b{number}", rows=[row(1, number, str(number)), row(2, number, str(number))])
        monkeypatch.setattr(batches_module, "_commit", dying)
        with pytest.raises(Killed):
            contacts.land(body)
        monkeypatch.setattr(batches_module, "_commit", commit)
        assert contacts.outcomes(body) == [Outcome.DUPLICATE if landed else Outcome.ACCEPTED]

    assert stages(contacts) == {("eu", 1): (1, "1"), ("eu", 2): (1, "1")}


@pytest.mark.parametrize("rows", [[row(1, 9, "twin")], [row(7, 1, "twin")]], ids=["same key", "another key"])
def test_a_merge_that_was_overtaken_begins_again(contacts: World, monkeypatch: pytest.MonkeyPatch, rows: Rows) -> None:
    """Also by new keys, which it could not see."""
    contacts.land(batch("b0", rows=[row(1, 1, "old")]))
    commit = batches_module._commit

    def overtaken(*given: Any) -> None:
        monkeypatch.setattr(batches_module, "_commit", commit)
        contacts.land(batch("twin", rows=rows))
        commit(*given)

    monkeypatch.setattr(batches_module, "_commit", overtaken)

    assert contacts.outcomes(batch("b1", rows=[row(1, 5, "mine"), row(7, 5, "mine")])) == [Outcome.ACCEPTED]
    assert stages(contacts) == {("eu", 1): (9, "twin") if rows[0]["id"] == 1 else (5, "mine"), ("eu", 7): (5, "mine")}


def test_a_merge_that_meets_a_compaction_begins_again(contacts: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both rewrite the same files."""
    contacts.land(*(batch(f"b{n}", rows=[row(n, 1, "old")]) for n in range(4)))
    commit = batches_module._commit

    def overtaken(*given: Any) -> None:
        monkeypatch.setattr(batches_module, "_commit", commit)
        contacts.table().optimize.compact()
        commit(*given)

    monkeypatch.setattr(batches_module, "_commit", overtaken)

    assert contacts.outcomes(batch("b5", rows=[row(2, 5, "new")])) == [Outcome.ACCEPTED]
    assert stages(contacts)["eu", 2] == (5, "new")
    assert len(stages(contacts)) == 4


def test_writers_at_once_end_where_one_would(contacts: World) -> None:
    """Three, each with all batches in an order of his own."""
    chance = random.Random(7)
    batches = [[row(chance.randrange(6), chance.randrange(9), f"{n}.{m}") for m in range(5)] for n in range(6)]
    bodies = [batch(f"b{n}", rows=rows) for n, rows in enumerate(batches)]
    barrier = threading.Barrier(3)

    def writer(number: int) -> list[Outcome]:
        barrier.wait()
        return contacts.outcomes(*random.Random(number).sample(bodies, len(bodies)))

    with ThreadPoolExecutor(3) as pool:
        ends = {end for found in pool.map(writer, range(3)) for end in found}

    ranked = sorted(
        (one["revision"], n, m, one["id"], one["stage"]) for n, rows in enumerate(batches) for m, one in enumerate(rows)
    )
    assert ends <= {Outcome.ACCEPTED, Outcome.DUPLICATE}
    assert stages(contacts) == {("eu", id_): (revision, stage) for revision, _, _, id_, stage in ranked}


def test_a_merged_dataset_grows_too(contacts: World) -> None:
    """A row that is replaced has all columns of its replacement, and those that the batch does not know are null."""
    contacts.land(batch("b1", rows=[row(1, 1, "old"), row(2, 1, "old")]))
    columns = ("region:string", "id:int64", "revision:int64", "stage:string:null", "order:double:null")
    contacts.declare("orders", *columns, mode="merge", key=["region", "id"], order_by="revision")
    contacts.land(batch("b2", rows=[{**row(1, 2, "new"), "order": 0.5}]))

    assert [(one["stage"], one["order"]) for one in contacts.rows()] == [("new", 0.5), ("old", None)]
