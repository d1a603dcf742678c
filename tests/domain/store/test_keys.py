"""The law of keys: two records have one key only if they are the same record, whatever stands in their ids."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from nilometer.domain.store import keys

TEXTS = ("a", "#", "a#a", "a#a#a", "%", "%23", "a%23a", "%25", "a%2523a", "/", "a/a")
"""What moves into its neighbour, or looks escaped, where a part is joined as it is."""
HASHES = ("0" * 64, "1" * 64)
DAYS = ("2026-11-01", "2026-11-02")
MOMENTS = (datetime(2026, 11, 30, 12, tzinfo=UTC), datetime(2026, 11, 29, 12, tzinfo=UTC))
OURS: dict[str, Sequence[Any]] = {
    "start": ("2026-11-01T00:00:00.000Z", "DAY#2026-11-01"),
    "threshold": ("80", "100", "hard"),
    "sha256": HASHES,
    "value_sha256": HASHES,
    "payload_sha256": HASHES,
    "digest": HASHES,
    "ulid": ("01KB4T1M5Y0S9N4F7Q2W8X6ZRD", "01KB4T1M5Y0S9N4F7Q2W8X6ZRE"),
    "digits": ("00", "ff"),
    "flow": ("usage", "billing"),
    "message_id": ("0b1c", "0b1d"),
    "object_type": ("customer", "checkout.session", "invoice"),
    "started_at": DAYS,
    "partition": (keys.waiting_for_workspace("a"), keys.waiting_for_workspace("a#a"), keys.waiting_for_meter("a")),
}
"""Parts that we make: none of them is somebody's text."""
OF_TYPE: dict[str, Sequence[Any]] = {
    "str": TEXTS,
    "str | None": (None, *TEXTS),
    "int": (0, 1, 11),
    "bool": (True, False),
    "datetime": MOMENTS,
}
OF_OTHER_KEYS = {"risk_waiting", "late"}
PREFIXES = {"counters"}
"""Of all shards of a counter, not of a record."""
RECORDS: dict[str, Callable[..., Any]] = {
    name: function
    for name, function in inspect.getmembers(keys, inspect.isfunction)
    if inspect.signature(function).return_annotation == "Key" and name not in OF_OTHER_KEYS | PREFIXES
}


def all_arguments(function: Callable[..., Any]) -> Iterator[tuple[Any, ...]]:
    """Every combination. A day is a text of ours, or the moment whose day it is."""
    found = inspect.signature(function).parameters.values()
    return product(
        *(
            DAYS if (one.name, one.annotation) == ("day", "str") else OURS.get(one.name, OF_TYPE[one.annotation])
            for one in found
        )
    )


@pytest.mark.parametrize("name", list(RECORDS))
def test_two_records_have_two_keys(name: str) -> None:
    """A separator or an escape in an id moves no part into its neighbour."""
    asked = list(all_arguments(RECORDS[name]))

    assert len({RECORDS[name](*one) for one in asked}) == len(asked)


def test_records_of_two_kinds_have_two_keys() -> None:
    """Nor does it make one kind of record another."""
    kind_of: dict[Any, str] = {}
    for name, function in RECORDS.items():
        for one in all_arguments(function):
            assert kind_of.setdefault(function(*one), name) == name, one


def test_every_kind_of_record_is_tried() -> None:
    """As many as the two tables hold."""
    assert len(RECORDS) > 40
