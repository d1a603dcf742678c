"""A table of any age and code of any age get on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from deltalake import DeltaTable
from tests.support.lake.build import append, ask, change, stripe_event, usage

from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS, TABLES, USAGE, Column, Type
from nilometer.domain.lake.tables import DeltaTable as Declared
from nilometer.lake.read import query
from nilometer.lake.write import append as append_module
from nilometer.lake.write.append import Lake

ROWS = {STRIPE_EVENTS.name: stripe_event, USAGE.name: usage, AUDIT.name: change}

# What was deployed first. It never changes: a difference to `domain.tables` at version 1 is a broken promise.
FIRST = {
    "stripe_events": "event_date:date event_id:string type:string account:string livemode:bool api_version:string?"
    " created:int64 created_at:timestamp object_type:string? object_id:string? customer_id:string?"
    " workspace_id:string? request_id:string? source:string received_at:timestamp recorded_at:timestamp"
    " payload:json? payload_ref:string?",
    "usage": "event_date:date event_id:string source:string type:string workspace_id:string meter:string"
    " quantity:decimal unit:string? dimensions:json? time:timestamp created:int64 period_start:timestamp?"
    " voids_source:string? voids_id:string? received_at:timestamp recorded_at:timestamp",
    "audit": "event_date:date change_id:string table_name:string kind:string pk:string sk:string"
    " workspace_id:string? action:string changed_fields:json? old_image:json? new_image:json? images_ref:string?"
    " actor:string? cause:string? sequence_number:string occurred_at:timestamp created:int64 recorded_at:timestamp",
}


def newer(table: Declared) -> Declared:
    """The declaration after one more step."""
    added = (
        Column(name="added_text", type=Type.STRING, meaning="m", source="s", example="e", nullable=True, version=2),
        Column(name="added_time", type=Type.TIMESTAMP, meaning="m", source="s", example="e", nullable=True, version=2),
        Column(name="added_amount", type=Type.DECIMAL, meaning="m", source="s", example="e", nullable=True, version=2),
    )
    return replace(table, columns=(*table.columns, *added))


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_the_first_version_is_as_it_was(table: Declared) -> None:
    """No column of it was renamed, retyped, made stricter, moved or dropped."""
    columns = [f"{c.name}:{c.type}{'?' if c.nullable else ''}" for c in table.at(1).columns]

    assert " ".join(columns) == FIRST[table.name]


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_todays_code_opens_a_table_of_the_first_version(lake: Lake, table: Declared) -> None:
    """It adds the columns that are missing, keeps the rows, and writes."""
    append(lake, table.at(1), ROWS[table.name]("old"))

    append(lake, table, ROWS[table.name]("new"))

    names = [field.name for field in DeltaTable(f"{lake.uri}/{table.name}").schema().fields]
    assert names == [column.name for column in table.columns]
    assert ask(lake, f"select count(*) from {table.name}") == [(2,)]  # noqa: S608


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_the_next_version_opens_todays_table(lake: Lake, table: Declared) -> None:
    """The step is one commit without data; old rows read as null."""
    append(lake, table, ROWS[table.name]("old"))

    append(lake, newer(table), ROWS[table.name]("new") | {"added_text": "x", "added_amount": "1.5"})

    sql = f"select added_text, added_amount::double, added_time from {table.name} order by 1 nulls first"  # noqa: S608
    assert ask(lake, sql) == [
        (None, None, None),
        ("x", 1.5, None),
    ]
    assert DeltaTable(f"{lake.uri}/{table.name}").version() == 3
    assert DeltaTable(f"{lake.uri}/{table.name}").protocol().min_reader_version == 1


@pytest.mark.parametrize("as_files", [True, False])
def test_todays_questions_read_a_table_of_the_first_version(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, as_files: bool
) -> None:
    """Nothing was written since the upgrade: a new column is null, of its type. A question writes nothing."""
    append(lake, USAGE, usage("old"))
    table = newer(USAGE)
    monkeypatch.setitem(query.ALL_TABLES, table.name, table)

    with query.connect(lake_uri=lake.uri, storage_options={}, as_files=as_files) as connection:
        found = connection.sql("select added_text, added_time, added_amount + 1 as more, workspace_id from usage")
        types = list(map(str, found.types))
        assert (found.fetchall(), types[:2]) == ([(None, None, None, "ws_1")], ["VARCHAR", "TIMESTAMP WITH TIME ZONE"])
    assert len(DeltaTable(f"{lake.uri}/usage").schema().fields) == len(USAGE.columns)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_yesterdays_code_writes_into_a_newer_table(lake: Lake, table: Declared) -> None:
    """During a deployment both run: the older fills with null what it does not know, and still finds duplicates."""
    append(lake, newer(table), ROWS[table.name]("new") | {"added_text": "x"})

    append(lake, table, ROWS[table.name]("old"))
    again = append(lake, table, ROWS[table.name]("new"))

    assert not again.new
    assert ask(lake, f"select added_text from {table.name} order by 1 nulls first") == [(None,), ("x",)]  # noqa: S608


def test_a_writer_overtaken_by_a_step_comes_through(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema changes between its reading and its commit: it is refused and begins again."""
    append(lake, USAGE, usage("first"))
    commit = append_module._commit
    stepped = False

    def overtaken(*arguments: Any) -> None:
        nonlocal stepped
        if not stepped:
            stepped = True
            append(lake, newer(USAGE), usage("newer"))
        commit(*arguments)

    monkeypatch.setattr(append_module, "_commit", overtaken)
    append(lake, USAGE, usage("older"))

    assert ask(lake, "select count(*), count(distinct event_id) from usage") == [(3, 3)]
