"""What a Parquet file may hold for which declared column: narrower, never other, and not a digit changed."""

from __future__ import annotations

import io
import os
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nilometer.domain.lake.dataset import new_column, new_dataset
from nilometer.errors import Rejected
from nilometer.lake.write import parquet_rows
from nilometer.lake.write.dataset_rows import Format, read

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, UTC)


def file(**columns: pa.Array) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def values(type_: str, column: pa.Array) -> list[Any]:
    return column_of(f"x:{type_}:null", file(x=column))


def column_of(declared: str, content: bytes) -> list[Any]:
    name, type_, *null = declared.split(":")
    table = new_dataset("orders", mode="append", columns=[new_column(name, type_, nullable=bool(null))]).table
    found: list[Any] = read(table, content, Format.PARQUET)[name].to_pylist()
    return found


@pytest.mark.parametrize(
    ("type_", "column", "expected"),
    [
        ("string", pa.array(["a", None, "ü"]), ["a", None, "ü"]),
        ("string", pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        ("string", pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        ("json", pa.array(['{"a": 1.10}', None]), ['{"a": 1.10}', None]),
        ("int64", pa.array([1, None, -5], pa.int8()), [1, None, -5]),
        ("int64", pa.array([2**63 - 1], pa.uint64()), [2**63 - 1]),
        ("double", pa.array([0.5, None], pa.float32()), [0.5, None]),
        ("bool", pa.array([True, None]), [True, None]),
        ("date", pa.array([date(2026, 2, 28), None]), [date(2026, 2, 28), None]),
        ("timestamp", pa.array([NOON, None], pa.timestamp("us", "UTC")), [NOON, None]),
        ("timestamp", pa.array([NOON], pa.timestamp("ns", "Europe/Paris")), [NOON]),
        ("decimal", pa.array([Decimal("1.10"), None], pa.decimal128(12, 2)), [Decimal("1.1"), None]),
        ("decimal", pa.array([Decimal("1.5")], pa.decimal128(38, 18)), [Decimal("1.5")]),
        ("decimal", pa.nulls(2), [None, None]),
    ],
    ids=str,
)
def test_what_fits_is_taken_exactly(type_: str, column: pa.Array, expected: list[Any]) -> None:
    """A column that is null throughout has no type of its own, and fits."""
    assert values(type_, column) == expected


@pytest.mark.parametrize(
    ("type_", "column"),
    [
        ("string", pa.array([1])),
        ("string", pa.array([b"a"])),
        ("string", pa.array([["a"]])),
        ("json", pa.array(["{"])),
        ("json", pa.array([""])),
        ("int64", pa.array([1.0])),
        ("int64", pa.array(["1"])),
        ("int64", pa.array([2**63], pa.uint64())),
        ("double", pa.array([1])),
        ("bool", pa.array([1])),
        ("date", pa.array(["2026-02-28"])),
        ("timestamp", pa.array([NOON.replace(tzinfo=None)], pa.timestamp("us"))),
        ("timestamp", pa.array([1795407245])),
        ("decimal", pa.array([Decimal("0.0000000001")], pa.decimal128(20, 10))),
        ("decimal", pa.array([Decimal(10**15)], pa.decimal128(38, 0))),
        ("decimal", pa.array([1.5])),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(type_: str, column: pa.Array) -> None:
    """Nothing is guessed, cut or rounded."""
    with pytest.raises(Rejected) as caught:
        values(type_, column)

    assert caught.value.reason == "invalid_row"
    assert str(caught.value).startswith("x ")


def test_a_time_without_a_zone_says_what_is_missing() -> None:
    """As Spark writes them unless told otherwise, in 96 bits, and pandas without a zone."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": [NOON.replace(tzinfo=None)]}), buffer, use_deprecated_int96_timestamps=True)

    with pytest.raises(Rejected, match="no timestamp; write times with a zone"):
        column_of("x:timestamp", buffer.getvalue())


def test_a_column_that_is_missing_is_null_where_it_may_be() -> None:
    assert column_of("note:string:null", file()) == []
    with pytest.raises(Rejected, match="id is null in 1 rows"):
        column_of("id:string", file(id=pa.array([None], pa.string())))


def test_a_column_that_is_not_declared_is_named() -> None:
    with pytest.raises(Rejected, match="column colour is not declared") as caught:
        column_of("id:string", file(id=pa.array(["1"]), colour=pa.array(["red"])))

    assert caught.value.reason == "unknown_column"


@pytest.mark.parametrize("content", [b"", b"id\n1\n", b"PAR1", file(id=pa.array(["1"]))[:-10]], ids=len)
def test_what_is_no_parquet_file_is_refused(content: bytes) -> None:
    """Empty, another format, torn in the middle."""
    with pytest.raises(Rejected, match="Parquet file"):
        column_of("id:string", content)


def test_a_small_file_of_very_many_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured as it is unpacked."""
    monkeypatch.setattr(parquet_rows, "UNPACKED_BYTES", 100_000)

    with pytest.raises(Rejected) as caught:
        column_of("id:int64", file(id=pa.array([7] * 100_000)))
    assert caught.value.reason == "too_large"


def test_no_file_is_left_behind(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function's disk is small and stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    column_of("id:string", file(id=pa.array(["1"])))
    with pytest.raises(Rejected):
        column_of("id:string", b"PAR1")

    assert os.listdir(tmp_path) == []  # noqa: PTH208  # names alone
