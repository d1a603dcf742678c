"""The bytes that a proof of an audit row covers. They are the same before the row is written and after it is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from nilometer.domain.lake.proof import PROVEN_COLUMNS

OVERLAP = timedelta(minutes=15)
"""For so long after the table got its column of proofs may an older relay still have been running."""

_encode = msgspec.json.Encoder(order="deterministic").encode


def proven_content(row: Mapping[str, Any]) -> bytes:
    """One text for one row, however its JSON was spaced and its names were ordered before it was decoded.

    Numbers are those that a JSON decoder makes: ints and floats. A column that is not there is null.
    """
    return _encode([row.get(name) for name in PROVEN_COLUMNS])


def proven_contents(columns: Iterable[Sequence[Any]]) -> list[bytes]:
    """The same of many rows, by column in the order of `PROVEN_COLUMNS`; JSON that is `Raw` as it is written."""
    return list(map(_encode, zip(*columns, strict=True)))
