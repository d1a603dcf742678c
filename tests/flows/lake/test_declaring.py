"""Datasets are declared by events and by the library, in one record that only grows."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from tests.support.flows.operations import NOW, event, handle
from tests.support.people import RACERS, race

from nilometer import operator, perform
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.lake.dataset import DeclareDataset, DeclaredColumn, Mode
from nilometer.errors import Rejected
from nilometer.flows.lake import declaring

ID = {"name": "id", "type": "string"}
NOTE = {"name": "note", "type": "string", "nullable": True}


def said(*columns: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"dataset": "orders", "mode": "append", "columns": list(columns) or [ID]} | changes


def declare(store: Store, *names: str, **given: Any) -> bool:
    return perform(store, operator("ops"), orders(*names), now=NOW)


def orders(*names: str) -> DeclareDataset:
    further = [DeclaredColumn(name=name, type="string", nullable=True) for name in names]
    return DeclareDataset(dataset="orders", mode="append", columns=[DeclaredColumn(name="id", type="string"), *further])


def columns(store: Store) -> list[str]:
    found = declaring.declared(store, "orders")
    assert found
    return [column.name for column in found.columns]


def test_an_event_declares_and_a_later_one_adds_columns(store: Store, objects: Objects) -> None:
    """In whatever order they arrive."""
    first, second = (
        event("dataset.declared.v1", said(*with_), id_=f"e{n}", second=n) for n, with_ in enumerate([[ID], [ID, NOTE]])
    )

    assert handle(store, objects, second, first) == [Outcome.ACCEPTED] * 2
    assert columns(store) == ["id", "note"]
    assert [one.mode for one in declaring.all_datasets(store)] == [Mode.APPEND]


@pytest.mark.parametrize(
    "wrong",
    [
        said(ID, mode="merge"),
        said({"name": "id", "type": "varchar"}),
        said(ID | {"unit": "call"}),
        said(ID, dataset="../usage"),
        said({"name": "id", "type": "int64"}),
    ],
    ids=str,
)
def test_what_cannot_be_or_is_no_safe_step_is_kept_as_a_reject(
    store: Store, objects: Objects, wrong: dict[str, Any]
) -> None:
    """And what was declared stays."""
    handle(store, objects, event("dataset.declared.v1", said(ID), id_="e1"))

    outcomes = handle(store, objects, event("dataset.declared.v1", wrong, id_="e2", second=1))

    assert (outcomes, columns(store)) == ([Outcome.REJECTED], ["id"])


def test_declaring_it_again_changes_nothing(store: Store) -> None:
    assert [declare(store), declare(store), declare(store, "note")] == [True, False, True]
    with pytest.raises(Rejected, match="note cannot be dropped"):
        declare(store)


def test_of_those_who_declare_at_once_nobody_is_lost(store: Store) -> None:
    """Each adds a column; the one that comes second sees the first one's and says so."""
    declare(store)

    ends = race([partial(declare, store, f"c{n}") for n in range(RACERS)])

    assert columns(store)[0] == "id"
    assert sum(end is True for end in ends) == len(columns(store)) - 1 == 1
    assert sum(isinstance(end, Rejected) for end in ends) == RACERS - 1
