"""Rows packed as columns are the same rows, in messages that SQS takes; what is not one of ours is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.lake.build import NOW, START, change, instant, messages, stripe_event, unpacked, usage

from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS, USAGE, DeltaTable
from nilometer.errors import Rejected
from nilometer.flows.lake.packed import BODY_BYTES
from nilometer.lake.write.rows import decode, decode_packed, joined, to_arrow

VALUES = st.none() | st.text(max_size=8) | st.integers(0, 3) | st.dictionaries(st.text(max_size=2), st.text(max_size=2))
ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.fixed_dictionaries({f"column_{n}": VALUES for n in range(width)}), max_size=600)
)


def rows_of(bodies: list[str]) -> list[dict[str, Any]]:
    return [row for body in bodies for row in unpacked(json.loads(body))]


def as_stored(table: DeltaTable, body: str) -> list[dict[str, Any]]:
    stored, rows = decode_packed(body)
    assert stored is table
    return _listed(table, rows)


def _listed(table: DeltaTable, rows: Any) -> list[dict[str, Any]]:
    arrow = to_arrow(table, rows, recorded_at=NOW)
    columns = {name: arrow.column(name).to_pylist() for name in arrow.column_names}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@given(rows=ROWS)
def test_the_same_rows_come_out(rows: list[dict[str, Any]]) -> None:
    """In their order. A column that is null in every row is left out, which says the same."""
    names = {name for row in rows for name, value in row.items() if value is not None}

    assert rows_of(messages("any", rows)) == [{n: v for n, v in row.items() if n in names} for row in rows if names]


@given(
    changes=st.lists(
        st.fixed_dictionaries(
            {
                "quantity": st.decimals("-999999999999999", "999999999999999", places=9).map(lambda d: format(d, "f"))
                | st.integers(-(10**15) + 1, 10**15 - 1).map(str),
                "unit": st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
                "dimensions": st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
                "created": st.integers(0, 4 * 10**9),
                "source": st.sampled_from(["/a", "/b", "/c"]),
            }
        ),
        min_size=1,
        max_size=300,
    )
)
def test_columns_and_rows_are_stored_alike(changes: list[dict[str, Any]]) -> None:
    """The quick way and the slow way into Arrow are one."""
    rows = [usage(f"e{n}", **changed) for n, changed in enumerate(changes)]
    [body] = messages("usage", rows)

    slow = decode(USAGE, json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode())

    assert len(slow) == len(rows)
    for quick_row, slow_row in zip(as_stored(USAGE, body), _listed(USAGE, slow), strict=True):
        dimensions = quick_row.pop("dimensions"), slow_row.pop("dimensions")
        assert quick_row == slow_row
        assert [one and json.loads(one) for one in dimensions] == [dimensions[1] and json.loads(dimensions[1])] * 2


@pytest.mark.parametrize(("table", "row"), [(STRIPE_EVENTS, stripe_event), (USAGE, usage), (AUDIT, change)])
def test_every_table_can_be_packed(table: DeltaTable, row: Any) -> None:
    identity = next(name for name in table.key if name.endswith("_id"))

    [body] = messages(table.name, [row("x1"), row("x2"), row("x3", created=START + 1)])

    assert [stored[identity] for stored in as_stored(table, body)] == ["x1", "x2", "x3"]


def test_messages_are_never_too_large() -> None:
    """Whatever the rows' sizes; a single larger row goes alone."""
    rows = [{"a": "x" * size, "b": n} for n, size in enumerate([10, 899_950, 3, 449_980, 449_980, 1] * 3 + [1] * 5000)]

    bodies = messages("usage", rows)

    assert all(len(body.encode()) <= BODY_BYTES for body in bodies)
    assert rows_of(bodies) == rows


def test_rows_of_other_names_go_apart() -> None:
    """Never a value below another name, whatever the order of the names."""
    rows = [{"a": 1, "b": 2}, {"b": 3, "a": 4}, {"a": 5}, {"a": 6, "b": 7}]

    bodies = messages("any", rows)

    assert len(bodies) == 3
    assert rows_of(bodies) == rows


def test_what_many_rows_share_stands_once() -> None:
    rows = [usage(f"e{n}") for n in range(1000)]

    [body] = messages("usage", rows)

    assert body.count("/services/inference") == 1
    assert len(body) < len(json.dumps(rows)) / 8


def test_more_values_than_a_byte_can_name_stay_as_they_are() -> None:
    rows = [usage(f"e{n}", workspace_id=f"ws_{n % kinds}") for kinds in (256, 257) for n in range(2570)]

    few, many = (json.loads(body) for half in (rows[:2570], rows[2570:]) for body in messages("usage", half))

    assert (type(few["columns"]["workspace_id"]), type(many["columns"]["workspace_id"])) == (dict, list)
    assert rows_of([json.dumps(few), json.dumps(many)]) == [
        {name: value for name, value in row.items() if value is not None} for row in rows
    ]


COLUMNS = {"source": ("/a", "/b"), "created": (START, START + 1), "time": (instant(START), instant(START + 1))}
WRONG: dict[str, Callable[[Any, Any], Any]] = {
    "an index too high": lambda a, _: {"dictionary": [a], "indices": "AAE="},
    "no dictionary": lambda *_: {"dictionary": [], "indices": "AAA="},
    "an index too few": lambda a, b: {"dictionary": [a, b], "indices": "AA=="},
    "an index too many": lambda a, b: {"dictionary": [a, b], "indices": "AAEB"},
    "indices as numbers": lambda a, b: {"dictionary": [a, b], "indices": [0, 1]},
    "indices as text": lambda a, b: {"dictionary": [a, b], "indices": "no base64"},
    "no indices": lambda a, b: {"dictionary": [a, b]},
    "another type": lambda a, _: {"dictionary": [a, {}], "indices": "AAE="},
    "null": lambda a, _: {"dictionary": [a, None], "indices": "AAE="},
    "more values than an index can name": lambda a, b: {"dictionary": [a, b] * 150, "indices": "AP8="},
    "a value too few": lambda a, _: [a],
    "a value too many": lambda a, b: [a, b, b],
    "a value is null": lambda a, _: [a, None],
    "all are null": lambda *_: None,
    "one value": lambda a, _: a,
}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_columns_that_are_none_are_refused(column: str, wrong: Callable[[Any, Any], Any]) -> None:
    """Never half read, and never a crash of the engine below."""
    [body] = messages("usage", [usage("e1"), usage("e2", source="/b")])
    content = json.loads(body)
    first, second = COLUMNS[column]

    def changed(values: Any) -> str:
        return json.dumps(content | {"columns": content["columns"] | {column: values}})

    assert len(as_stored(USAGE, changed({"dictionary": [first, second], "indices": "AAE="}))) == 2
    with pytest.raises(Rejected):
        decode_packed(changed(wrong(first, second)))


def test_packed_parts_can_be_joined() -> None:
    bodies = [body for n in range(3) for body in messages("usage", [usage(f"e{n}"), usage(f"f{n}")])]

    rows = joined([decode_packed(body)[1] for body in bodies])

    assert rows.event_ids == [f"{kind}{n}" for n in range(3) for kind in "ef"]
    assert [row["event_id"] for row in _listed(USAGE, rows)] == rows.event_ids
