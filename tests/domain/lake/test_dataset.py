"""What may be declared, and what may change: a dataset only ever grows by nullable columns."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.acts import act
from tests.support.stores.writes import Memory

from nilometer.domain.acts.act import Act
from nilometer.domain.lake.dataset import DeclareDataset, DeclaredColumn, dataset_of
from nilometer.domain.lake.redaction import image
from nilometer.domain.lake.tables import Type
from nilometer.domain.store import keys
from nilometer.errors import Rejected

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(second: int) -> Act:
    time = NOW + timedelta(seconds=second)
    return act(at=time, stamp=f"{time.isoformat()} s {second}")


def column(name: str, type_: Any, **given: Any) -> DeclaredColumn:
    return DeclaredColumn(name=name, type=type_, **given)


ID = column("id", "string")
SEEN = column("seen", "timestamp")
NOTE = column("note", "string", nullable=True, description="Said by the customer")
KEY = keys.dataset("contacts")


def contacts(*columns: DeclaredColumn, **changes: Any) -> DeclareDataset:
    given: dict[str, Any] = {"mode": "merge", "columns": [ID, SEEN, *columns], "key": ["id"], "order_by": "seen"}
    return DeclareDataset(dataset="contacts", **given | changes)


def memory(*declarations: tuple[DeclareDataset, Act]) -> Memory:
    found = Memory()
    for deed, by in declarations:
        found.does(by, deed)
    return found


def after(*declarations: tuple[DeclareDataset, Act]) -> Any:
    return memory(*declarations)[KEY]


def test_a_declaration_comes_back_as_it_was_made() -> None:
    """Record and dataset are each other's inverse."""
    said = contacts(NOTE, description="People")

    assert dataset_of(after((said, at(0)))) == said.said()


def test_further_nullable_columns_follow() -> None:
    """The old ones keep their places, whatever the new declaration's order is."""
    said = contacts(columns=[NOTE, SEEN, ID])

    item = after((contacts(), at(0)), (said, at(1)))

    assert [column.name for column in dataset_of(item).columns] == ["id", "seen", "note"]
    assert item["version"] == 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (contacts(NOTE, column("score", "double")), "must be nullable"),
        (contacts(columns=[ID, column("seen", "int64")]), "seen is timestamp not null for good"),
        (contacts(columns=[ID, SEEN, column("note", "string")]), "note is string null for good"),
        (contacts(), "note cannot be dropped"),
        (contacts(NOTE, order_by="id"), "order_by is seen for good"),
        (contacts(NOTE, key=["id", "id2"], columns=[ID, column("id2", "string"), SEEN, NOTE]), "key is id for"),
        (contacts(NOTE, mode="append", order_by=None), "mode is merge for good"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_other_change_is_refused(said: DeclareDataset, why: str) -> None:
    """With what stands in its way."""
    with pytest.raises(Rejected, match=re.escape(why)) as caught:
        memory((contacts(NOTE), at(0)), (said, act()))

    assert caught.value.reason == "conflict"


def test_the_same_again_says_nothing() -> None:
    """Neither as an event nor by hand."""
    found = memory((contacts(), at(0)))

    assert found.does(at(1), contacts()) == []
    assert found.does(act(), contacts()) == []


def test_any_order_of_its_declarations_ends_in_the_same_dataset() -> None:
    """The later one holds, and the earlier that comes late is no attempt to drop columns."""
    steps = [
        (contacts(), at(0)),
        (contacts(NOTE), at(1)),
        (contacts(NOTE, column("x", "bool", nullable=True)), at(2)),
    ]

    ends = [dataset_of(after(*order)) for order in itertools.permutations(steps)]

    assert all(end == steps[-1][0].said() for end in ends)


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": []},
        {"key": ["note"]},
        {"key": ["nowhere"]},
        {"key": ["id", "id"]},
        {"key": ["seen"]},
        {"order_by": None},
        {"order_by": "note"},
        {"mode": "append"},
        {"mode": "replace"},
        {"columns": []},
        {"columns": [ID, SEEN, ID]},
        {"columns": [ID, SEEN, column("batch_id", "string")]},
        {"columns": [ID, SEEN, column("Upper", "string")]},
        {"columns": [ID, SEEN, column("x", "string", description="x" * 501)]},
        {"description": "x" * 501},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_when_it_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        contacts(**{"columns": [ID, SEEN, NOTE]} | wrong).said()


def test_types_and_names_are_of_a_closed_set() -> None:
    with pytest.raises(Rejected, match="none of"):
        contacts(column("x", "varchar")).said()
    with pytest.raises(Rejected, match="slug"):
        DeclareDataset(dataset="../usage", mode="append", columns=[ID]).said()


def test_the_table_is_what_is_declared_and_which_batch_it_came_with() -> None:
    """Below a folder of its own, so that no dataset can pose as a table of ours."""
    table = contacts(NOTE).said().table

    assert table.name == "datasets/contacts"
    assert [column.name for column in table.columns] == [
        "id",
        "seen",
        "note",
        "batch_source",
        "batch_id",
        "recorded_at",
    ]
    assert table.column("seen").type is Type.TIMESTAMP
    log = DeclareDataset(dataset="log", mode="append", columns=[ID]).said()
    assert (table.append_only, log.table.append_only) == (False, True)


def test_the_audit_keeps_what_columns_are_called() -> None:
    """They are our catalog, and nobody's personal data."""
    [shown, *_] = image(after((contacts(), at(0))))["columns"]

    assert shown == {"name": "id", "type": "string", "nullable": False, "description": ""}
