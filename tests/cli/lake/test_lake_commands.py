"""The lake answers by name."""

# ruff: noqa: S608  # ids and addresses are the test's own

from __future__ import annotations

import csv
import io
import re
import uuid
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def used(nilometer: Any, stack: Any) -> str:
    """A workspace with two usage events in the lake."""
    name = f"ws_{uuid.uuid4().hex[:8]}"
    nilometer("workspace", "create", name)
    for quantity in ("1.5", "40"):
        nilometer("usage", "send", "--workspace", name, "--meter", "api_calls", "--quantity", quantity)
    assert nilometer("wait").code == 0
    return name


def test_a_query_gives_one_object_a_row(nilometer: Any, used: str) -> None:
    """Counts are numbers, exact decimals are strings."""
    sql = f"select count(*) as events, sum(quantity) as used from usage where workspace_id = '{used}'"

    assert nilometer("query", sql, "--json").json == {"events": 2, "used": "41.500000000"}


def test_a_sum_of_integers_is_an_integer(nilometer: Any, used: str) -> None:
    """DuckDB hands it over as a decimal."""
    sql = f"select sum(1) as n from usage where workspace_id = '{used}'"

    assert nilometer("query", sql, "--json").json == {"n": 2}


def test_a_query_as_csv(nilometer: Any, used: str) -> None:
    """With a header."""
    sql = f"select workspace_id, meter from usage where workspace_id = '{used}'"

    assert list(csv.reader(io.StringIO(nilometer("query", sql, "--csv").out))) == [
        ["workspace_id", "meter"],
        [used, "api_calls"],
        [used, "api_calls"],
    ]


def test_a_query_from_stdin_for_people(nilometer: Any, used: str) -> None:
    """Wide results come as a block a row, nothing is squeezed."""
    answer = nilometer("query", "-", text=f"select * from usage where workspace_id = '{used}' limit 1")

    assert used in answer.out
    assert "workspace_id" in answer.out


def test_a_recipe_as_a_picture(nilometer: Any, used: str, tmp_path: Path) -> None:
    """Its question is the title; stdout stays empty."""
    answer = nilometer("query", "--recipe", "usage-per-day", "--chart", str(tmp_path / "usage.svg"))

    assert (answer.code, answer.out) == (0, "")
    assert "How much did each workspace use" in (tmp_path / "usage.svg").read_text()


def test_wrong_sql_is_a_sentence(nilometer: Any, stack: Any) -> None:
    """The engine's own words, no traceback."""
    answer = nilometer("query", "select nothing from nowhere")

    assert answer.code == 1
    assert "nowhere" in answer.err
    assert "Traceback" not in answer.err


def test_a_missing_table_is_answered_with_ours(nilometer: Any, stack: Any) -> None:
    """And not with names of DuckDB's own catalog."""
    answer = nilometer("query", "select * from usages")

    assert (answer.code, answer.out) == (1, "")
    assert "usages" in answer.err
    assert "Ours are stripe_events, usage, audit" in answer.err
    assert "Did you mean" not in answer.err


def test_tables_are_described(nilometer: Any, stack: Any, used: str) -> None:
    """Names, sizes and where they lie, as announced."""
    described = {table["name"]: table for table in nilometer("tables", "--json").lines}

    assert {name: described[name]["location"] for name in stack.about["tables"]} == stack.about["tables"]
    assert described["usage"]["rows"] >= 2
    assert set(described["usage"]) == {"name", "location", "version", "rows", "files", "bytes"}
    assert "stripe_events" in nilometer("tables").out


def test_upkeep_says_each_step_and_what_it_did(nilometer: Any, used: str) -> None:
    """Steps on stderr, a line a table on stdout."""
    answer = nilometer("tables", "optimize", "--table", "usage", "--json")

    assert (answer.code, answer.json["table"], answer.json["stopped"]) == (0, "usage", None)
    assert "usage: cleaning" in answer.err


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["done", "dry run"])
def test_upkeep_for_people_names_no_stop_that_was_none(nilometer: Any, used: str, more: tuple[str, ...]) -> None:
    """A line a table: what was done, or that nothing was; never `stopped None`."""
    answer = nilometer("tables", "optimize", "--table", "usage", *more)

    assert answer.code == 0
    assert re.fullmatch(r"usage: \S.*\n", answer.out)
    assert "stopped" not in answer.out
    assert "None" not in answer.out


def test_vacuum_of_a_young_table_deletes_nothing(nilometer: Any, used: str) -> None:
    """In a dry run and in earnest; the rows are there afterwards."""
    expected = {"table": "usage", "files": [], "stopped": None}

    assert nilometer("tables", "vacuum", "--table", "usage", "--dry-run", "--json").json == expected
    assert nilometer("tables", "vacuum", "--table", "usage", "--json").json == expected
    assert "audit" in nilometer("tables", "vacuum").out
    assert nilometer("query", f"select count(*) as n from usage where workspace_id = '{used}'", "--json").json == {
        "n": 2
    }


def test_vacuum_refuses_a_short_retention(nilometer: Any) -> None:
    """Readers and writers may still need what is younger."""
    answer = nilometer("tables", "vacuum", "--retention-days", "1")

    assert answer.code == 2
    assert "7" in answer.err


def test_the_announced_lake_is_open_to_any_client(stack: Any, used: str) -> None:
    """delta-rs with the announced endpoint reads what DuckDB reads."""
    from deltalake import DeltaTable

    options = {
        "AWS_ENDPOINT_URL": stack.about["aws_endpoint_url"],
        "AWS_REGION": stack.about["region"],
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_ALLOW_HTTP": "true",
    }
    opened = DeltaTable(stack.about["tables"]["usage"], storage_options=options)

    assert used in opened.to_pyarrow_table(columns=["workspace_id"])["workspace_id"].to_pylist()
