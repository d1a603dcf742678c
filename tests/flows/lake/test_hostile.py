"""The law of isolation on the way to the lake: rows beside an odd row in one message."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.events.hostile import ENCODED, HOSTILE, fields, named, placed
from tests.support.lake.build import KEYS, NOW, stripe_event, usage

from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message
from nilometer.flows.lake import append as flow
from nilometer.lake.read.query import query
from nilometer.lake.write.append import Lake

MADE = {"usage": usage, "stripe_events": stripe_event}
BATCH = 200
EVERY = 3
"""One of so many values in every column is tried."""

_ids = itertools.count()


def as_rows(table: str, value: str, place: tuple[str | int, ...]) -> tuple[str, list[str]]:
    """A good row, one with `value` at `place`, and a good row; and the ids of the good ones."""
    rows = [MADE[table](f"row {next(_ids)}") for _ in range(3)]
    return placed({"table": table, "rows": rows}, ("rows", 1, *place), value), [
        rows[0]["event_id"],
        rows[2]["event_id"],
    ]


def as_columns(table: str, value: str, place: tuple[str | int, ...]) -> tuple[str, list[str]]:
    """The same as the relay packs them."""
    rows = [MADE[table](f"row {next(_ids)}") for _ in range(3)]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    name, *inner = place
    body = placed({"table": table, "columns": columns}, ("columns", name, 1, *inner), value)
    return body, [rows[0]["event_id"], rows[2]["event_id"]]


def odd_messages(table: str, made: Any) -> Iterator[tuple[str, str, list[str]]]:
    places = [place for place in fields(MADE[table]("a")) if place]
    for place, value in itertools.islice(itertools.product(places, ENCODED), 0, None, EVERY):
        yield f"{value} at {named(place)}", *made(table, HOSTILE[value], place)


@pytest.mark.parametrize("made", [as_rows, as_columns])
@pytest.mark.parametrize("table", MADE)
def test_rows_beside_an_odd_row_are_in_the_lake(table: str, made: Any, objects: Objects, tmp_path: Path) -> None:
    """Of every column, in batches of 200 messages with two good rows each: all of these land, and nothing fails."""
    lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
    odd = list(odd_messages(table, made))
    failed = []
    for start in range(0, len(odd), BATCH):
        together = odd[start : start + BATCH]
        messages = [Message(str(number), body) for number, (_, body, _) in enumerate(together)]
        deadline = time.monotonic() + 60
        results = flow.append(messages, lake=lake, objects=objects, keys=KEYS, now=NOW, deadline=deadline)
        failed += [
            (what, dict(one.fields))
            for (what, _, _), one in zip(together, results, strict=True)
            if one.outcome == "failed"
        ]

    landed = {row[0] for row in query(f"from {table} select event_id", lake_uri=lake.uri, storage_options={}).rows}
    lost = [what for what, _, good in odd if not landed.issuperset(good)]
    assert (failed, lost) == ([], [])
