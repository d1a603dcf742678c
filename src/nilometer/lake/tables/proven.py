"""What a proof of the audit's rows speaks of, as bytes that no writer and no reader on the way changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from nilometer.domain.lake.proof import PROVEN_COLUMNS

OVERLAP = timedelta(minutes=15)
"""For so long after the table got its column of proofs may an older relay still have been running."""

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.decode


def proven_content(columns: Mapping[str, bytes | msgspec.Raw]) -> bytes:
    """One text for one row, given as JSON by column, however that was spaced and its names were ordered."""
    return _encode([_decode(columns[name]) for name in PROVEN_COLUMNS])
