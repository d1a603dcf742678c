"""Which parts of an image are no longer what the record held: some are redacted, and JSON has no bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nilometer.domain.lake.redaction import REDACTED

_COMPRESSED = frozenset({"inputs", "views"})  # bytes in a record, readable JSON in its image
_REHASHED = "#~"  # of a key with a token's hash (`redaction.key_text`)


def incomplete(image: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the attributes that are not what the record held, sorted: redacted, hashed again, or bytes before."""
    return tuple(sorted(name for name, value in image.items() if name in _COMPRESSED or _lost(value)))


def _lost(value: Any) -> bool:
    match value:
        case str():
            return value == REDACTED or _REHASHED in value
        case {"bytes": int(), "sha256": str()}:
            return True
        case Mapping():
            return any(map(_lost, value.values()))
        case list():
            return any(map(_lost, value))
    return False
