"""What may be declared, and what may change: a dataset only ever grows by nullable columns."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nilometer.domain.acts.origin import Origin, of_actor
from nilometer.domain.lake import dataset
from nilometer.domain.lake.dataset import Dataset, DatasetColumn, Mode, dataset_of, new_column, new_dataset
from nilometer.domain.lake.redaction import image
from nilometer.domain.lake.tables import Type
from nilometer.errors import Rejected

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ID = new_column("id", "string")
SEEN = new_column("seen", "timestamp")
NOTE = new_column("note", "string", nullable=True, description="Said by the customer")


def at(second: int) -> Origin:
    time = NOW + timedelta(seconds=second)
    return Origin(at=time, stamp=f"{time.isoformat()} s {second}", cause=f"e{second}", actor="crm")


def contacts(*columns: DatasetColumn, **changes: Any) -> Dataset:
    given: dict[str, Any] = {"mode": "merge", "columns": [ID, SEEN, *columns], "key": ["id"], "order_by": "seen"}
    return new_dataset("contacts", **given | changes)


def after(*declarations: tuple[Dataset, Origin]) -> Any:
    item = None
    for said, origin in declarations:
        put = dataset.declare(item, said, origin=origin, now=NOW)
        item = put.item if put else item
    return item


def refusal(stored: Any, said: Dataset) -> str:
    with pytest.raises(Rejected) as caught:
        dataset.declare(stored, said, origin=of_actor("ops", NOW), now=NOW)
    assert caught.value.reason == "conflict"
    return str(caught.value)


def test_a_declaration_comes_back_as_it_was_made() -> None:
    """Record and dataset are each other's inverse."""
    said = contacts(NOTE, description="People")

    assert dataset_of(after((said, at(0)))) == said


def test_further_nullable_columns_follow() -> None:
    """The old ones keep their places, whatever the new declaration's order is."""
    said = new_dataset("contacts", mode="merge", columns=[NOTE, SEEN, ID], key=["id"], order_by="seen")

    item = after((contacts(), at(0)), (said, at(1)))

    assert [column.name for column in dataset_of(item).columns] == ["id", "seen", "note"]
    assert item["version"] == 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (contacts(NOTE, new_column("score", "double")), "must be nullable"),
        (contacts(columns=[ID, new_column("seen", "int64")]), "seen is timestamp not null for good"),
        (contacts(columns=[ID, SEEN, new_column("note", "string")]), "note is string null for good"),
        (contacts(), "note cannot be dropped"),
        (contacts(NOTE, order_by="id"), "order_by is seen for good"),
        (contacts(NOTE, key=["id", "id2"], columns=[ID, new_column("id2", "string"), SEEN, NOTE]), "key is id for"),
        (contacts(NOTE, mode="append", order_by=None), "mode is merge for good"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_other_change_is_refused(said: Dataset, why: str) -> None:
    """With what stands in its way."""
    assert why in refusal(after((contacts(NOTE), at(0))), said)


def test_the_same_again_says_nothing() -> None:
    """Neither as an event nor by hand."""
    stored = after((contacts(), at(0)))

    assert dataset.declare(stored, contacts(), origin=at(1), now=NOW) is None
    assert dataset.declare(stored, contacts(), origin=of_actor("ops", NOW), now=NOW) is None


def test_any_order_of_its_declarations_ends_in_the_same_dataset() -> None:
    """The later one holds, and the earlier that comes late is no attempt to drop columns."""
    steps = [
        (contacts(), at(0)),
        (contacts(NOTE), at(1)),
        (contacts(NOTE, new_column("x", "bool", nullable=True)), at(2)),
    ]

    ends = [dataset_of(after(*order)) for order in itertools.permutations(steps)]

    assert all(end == steps[-1][0] for end in ends)


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
        {"columns": [ID, SEEN, new_column("batch_id", "string")]},
        {"columns": [ID, SEEN, new_column("Upper", "string")]},
        {"columns": [ID, SEEN, new_column("x", "string", description="x" * 501)]},
        {"description": "x" * 501},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_when_it_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        contacts(**{"columns": [ID, SEEN, NOTE]} | wrong)


def test_types_and_names_are_of_a_closed_set() -> None:
    with pytest.raises(Rejected, match="none of"):
        new_column("x", "varchar")
    with pytest.raises(Rejected, match="slug"):
        new_dataset("../usage", mode="append", columns=[ID])


def test_the_table_is_what_is_declared_and_which_batch_it_came_with() -> None:
    """Below a folder of its own, so that no dataset can pose as a table of ours."""
    table = contacts(NOTE).table

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
    assert (table.append_only, new_dataset("log", mode=Mode.APPEND, columns=[ID]).table.append_only) == (False, True)


def test_the_audit_keeps_what_columns_are_called() -> None:
    """They are our catalog, and nobody's personal data."""
    [shown, *_] = image(after((contacts(), at(0))))["columns"]

    assert shown == {"name": "id", "type": "string", "nullable": False, "description": ""}
