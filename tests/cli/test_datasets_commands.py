"""Datasets from the command line: declared, shown, fed."""

from __future__ import annotations

import uuid
from typing import Any

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


def test_what_is_no_safe_step_is_a_sentence(nilometer: Any, contacts: str) -> None:
    """And so is what is not declared, or no column."""
    grown = declare(nilometer, contacts, "--column", "score:double")
    unknown = nilometer("datasets", "show", "nowhere")

    assert (grown.code, unknown.code) == (1, 1)
    assert "column score is new, so it must be nullable" in grown.err
    assert "nilometer datasets list" in unknown.err
    assert declare(nilometer, contacts, "--column", "score:double:maybe").code == 2
