"""ULIDs: 48 bits of time and 80 of chance in 26 characters that sort by time. Source: https://github.com/ulid/spec."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from nilometer.domain.store.times import from_epoch

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CHANCE = 10  # bytes
LENGTH = 26


def ulid(instant: datetime, chance: bytes) -> str:
    """`chance` is ten bytes from outside; the same input is the same id."""
    if len(chance) != CHANCE:
        raise ValueError(f"{len(chance)} bytes; a ULID takes {CHANCE}")
    number = (_milliseconds(instant) << 80) | int.from_bytes(chance)
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def least(instant: datetime) -> str:
    """No ULID of `instant` or later is less, every earlier one is."""
    return ulid(instant, bytes(CHANCE))


def derived(instant: datetime, *identity: str) -> str:
    """The identity of a cause in place of chance: the same cause has the same id wherever it is computed.

    Each part counts with its length, so that ("ab", "c") is not ("a", "bc").
    """
    content = "".join(f"{len(part)}:{part}" for part in identity)
    return ulid(instant, hashlib.sha256(content.encode()).digest()[:CHANCE])


def is_ulid(text: str) -> bool:
    """Whether it has the form, and a time that a datetime holds."""
    return len(text) == LENGTH and set(text) <= set(ALPHABET) and text <= _LATEST


def time_of(ulid: str) -> datetime:
    """The instant, in milliseconds, of what `is_ulid`."""
    number = 0
    for character in ulid[:10]:
        number = number << 5 | ALPHABET.index(character)
    return from_epoch(0) + timedelta(milliseconds=number)


def _milliseconds(instant: datetime) -> int:
    return max(0, (instant - from_epoch(0)) // timedelta(milliseconds=1))


_LATEST = ulid(datetime.max.replace(tzinfo=UTC), b"\xff" * CHANCE)
