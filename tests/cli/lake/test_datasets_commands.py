"""Datasets from the command line: declared, shown, fed."""

from __future__ import annotations

# ruff: noqa: S608  # names are the test's own
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

COLUMNS = ("--column", "id:string", "--column", "seen:timestamp", "--column", "note:string:null")


@pytest.fixture
def contacts(nilometer: Any, stack: Any) -> str:
    """A new dataset that merges."""
    name = f"contacts_{uuid.uuid4().hex[:8]}"
    assert declare(nilometer, name).code == 0
    return name


def declare(nilometer: Any, name: str, *more: str) -> Any:
    merge = ("--mode", "merge", "--key", "id", "--order-by", "seen")
    return nilometer("datasets", "declare", name, *merge, *COLUMNS, *more, "--json")


def test_a_dataset_is_declared_grown_and_shown(nilometer: Any, contacts: str) -> None:
    """Again is nothing; a further nullable column is."""
    assert declare(nilometer, contacts).json["changed"] is False
    assert declare(nilometer, contacts, "--column", "score:double:null").json["changed"] is True

    shown = nilometer("datasets", "show", contacts, "--json").json
    assert [(c["name"], c["type"], c["nullable"]) for c in shown["columns"]] == [
        ("id", "string", False),
        ("seen", "timestamp", False),
        ("note", "string", True),
        ("score", "double", True),
    ]
    assert contacts in {one["dataset"] for one in nilometer("datasets", "list", "--json").lines}
    assert "score" in nilometer("datasets", "show", contacts).out
    assert contacts in nilometer("datasets", "list").out


def test_what_is_described_stays_so(nilometer: Any, contacts: str) -> None:
    """Until another description is given."""
    declare(nilometer, contacts, "--description", "People")
    assert declare(nilometer, contacts, "--column", "score:double:null").json["description"] == "People"
    assert declare(nilometer, contacts, "--column", "score:double:null", "--description", "").json["description"] == ""


def test_what_is_no_safe_step_is_a_sentence(nilometer: Any, contacts: str) -> None:
    """And so is what is not declared, or no column."""
    grown = declare(nilometer, contacts, "--column", "score:double")
    unknown = nilometer("datasets", "show", "nowhere")

    assert (grown.code, unknown.code) == (1, 1)
    assert "column score is new, so it must be nullable" in grown.err
    assert "nilometer datasets list" in unknown.err
    assert declare(nilometer, contacts, "--column", "score:double:maybe").code == 2


@pytest.fixture
def orders(nilometer: Any, stack: Any) -> str:
    """A new dataset that appends."""
    name = f"orders_{uuid.uuid4().hex[:8]}"
    assert nilometer("datasets", "declare", name, "--mode", "append", "--column", "id:string").code == 0
    return name


def rows(nilometer: Any, dataset: str, columns: str) -> list[Any]:
    """What an analyst sees when all has landed."""
    assert nilometer("wait").code == 0
    sql = f"select {columns} from datasets.{dataset} order by all"
    return [tuple(line.values()) for line in nilometer("query", sql, "--json").lines]


def test_files_and_rows_land_in_the_lake_once(nilometer: Any, orders: str, tmp_path: Path) -> None:
    """From a file of either format, or inline; through bus, queue, function and lake, under the function's own role."""
    ndjson, parquet = tmp_path / "one.ndjson", tmp_path / "two.parquet"
    ndjson.write_text('{"id": "1"}\n{"id": "2"}\n')
    pq.write_table(pa.table({"id": ["3"]}), parquet)
    for _ in range(2):
        sent = nilometer("datasets", "send", orders, str(ndjson), "--json").json
        assert nilometer("datasets", "send", orders, str(parquet), "--id", "second").code == 0
        assert nilometer("datasets", "send", orders, "-", "--inline", "--id", "third", text='{"id": "4"}').code == 0

    landed = rows(nilometer, orders, "id, batch_id")

    assert landed == [("1", sent["id"]), ("2", sent["id"]), ("3", "second"), ("4", "third")]
    assert sent["data"]["object"]["key"].startswith(f"landing/{orders}/")


def test_what_cannot_be_sent_is_said(nilometer: Any, orders: str, tmp_path: Path) -> None:
    parquet = tmp_path / "two.parquet"
    pq.write_table(pa.table({"id": ["3"]}), parquet)

    assert nilometer("datasets", "send", orders, str(parquet), "--inline").code == 2
    assert "one JSON object per line" in nilometer("datasets", "send", orders, "-", "--inline", text="{").err
    assert "not a slug" in nilometer("datasets", "send", "../usage", "-", text="{}").err
    assert "there is no dataset nowhere" in nilometer("datasets", "send", "nowhere", "-", text="{}").err


def test_what_was_refused_is_shown_with_its_reason(nilometer: Any, orders: str) -> None:
    """And can be seen as it arrived."""
    sent = nilometer("datasets", "send", orders, "-", "--inline", "--json", text='{"id": 5}').json
    assert nilometer("wait").code == 0

    rejects = nilometer("datasets", "rejects", "--payload", "--json").lines
    [found] = [one for one in rejects if one["event_id"] == sent["id"]]

    assert (found["reason"], found["source"]) == ("invalid_row", sent["source"])
    assert "Expected `str`, got `int` - at `$[0].id`" in found["message"]
    assert orders in found["payload"]
    assert "invalid_row" in nilometer("datasets", "rejects").out


def test_a_dataset_ends_in_steps(nilometer: Any, contacts: str) -> None:
    """Deprecated, dropped, restored, and given to another source; each step says what it did."""
    deprecated = nilometer("datasets", "deprecate", contacts, "--note", "use people")
    assert (deprecated.code, deprecated.err) == (0, f"dataset {contacts} changed\n")
    assert "deprecated: use people" in nilometer("datasets", "show", contacts).err
    dropped = nilometer("datasets", "drop", contacts, "--yes")
    assert f"datasets/{contacts}/ --recursive" in dropped.err
    assert nilometer("datasets", "show", contacts, "--json").json["status"] == "dropped"
    assert nilometer("datasets", "restore", contacts).code == 0
    assert nilometer("datasets", "give", contacts, "/services/crm").code == 0
    shown = nilometer("datasets", "show", contacts, "--json").json
    assert (shown["status"], shown["owner"]) == ("active", "/services/crm")
    assert (nilometer("datasets", "give", contacts).code, nilometer("datasets", "drop", "nowhere", "--yes").code) == (
        2,
        1,
    )
