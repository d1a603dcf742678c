"""Rows in order by way of sorted runs on disk, however many and wide they are.

DuckDB's sort and `max_by` keep whole rows in memory: 320 MB of images did not fit into a limit of 256 MB.
"""

from __future__ import annotations

import heapq
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

Row = tuple[Any, ...]

RUN_BYTES = 64_000_000  # of text in memory at once


def ordered(rows: Iterable[Row], *, by: int, fold: Callable[[Iterable[Row]], Iterable[Row]] = iter) -> Iterator[Row]:
    """`rows` in the order of their first `by` columns, which are never null.

    `fold` takes ordered rows and drops some; it is applied to each run, so that less is written, and to the whole.
    """
    key = itemgetter(slice(by))
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            _written(Path(folder, str(number)), fold(sorted(run, key=key))) for number, run in enumerate(_runs(rows))
        ]
        yield from fold(heapq.merge(*map(_read, runs), key=key))


def _runs(rows: Iterable[Row]) -> Iterator[list[Row]]:
    run: list[Row] = []
    size = 0
    for row in rows:
        run.append(row)
        size += sum(len(value) if isinstance(value, str) else 50 for value in row)
        if size > RUN_BYTES:
            yield run
            run, size = [], 0
    if run:
        yield run


def _written(path: Path, run: Iterable[Row]) -> Path:
    with path.open("wb") as file:
        for row in run:
            pickle.dump(row, file)
    return path


def _read(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        while file.peek(1):
            yield pickle.load(file)  # noqa: S301  # we have written it
