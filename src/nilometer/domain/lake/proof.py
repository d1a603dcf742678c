"""Proof of origin: a row of the audit carries a MAC by a key that only the relay and the lake hold.

    proof = "1." + id of the key + "." + HMAC-SHA-256 of the row's columns, 128 bits in hex

Without it whoever may put events on the bus could write history. The row is taken as JSON of a list, names sorted
(`content` is made by `flows.lake.proof`), so that a proof is independent of every writer and reader between.

Keys are text, the first of them signs, all of them are believed: a new key goes in front, and an old one stays for as
long as rows that it signed are verified, which is for ever. Source: RFC 2104, section 5 for the truncation.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from functools import lru_cache

AUDIT_VOID = "audit_void"
"""The kind of a record whose own row, which is proven, takes another row of the audit out of history."""

_FORM = "1"
_KEY_ID = 8  # hex digits
_MAC = 32  # hex digits: 128 bits
_PREFIX = len(_FORM) + _KEY_ID + 2

PROVEN_COLUMNS = (
    "change_id",
    "table_name",
    "kind",
    "pk",
    "sk",
    "workspace_id",
    "action",
    "changed_fields",
    "old_image",
    "new_image",
    "images_ref",
    "actor",
    "cause",
    "sequence_number",
    "created",
)
"""What a proof covers, in this order: every column but those that follow from `created` or are stamped."""


def proof(content: bytes, key: str) -> str:
    """The proof of a row's `content`."""
    return f"{_FORM}.{key_id(key)}.{_mac(content, key)}"


def is_proven(content: bytes, given: str | None, keys: Sequence[str]) -> bool:
    """Whether one of `keys` made the proof that was `given`. In constant time for each."""
    return given is not None and any(hmac.compare_digest(given.encode(), proof(content, key).encode()) for key in keys)


def are_proven(contents: Iterable[bytes], given: Sequence[str | None], keys: Sequence[str]) -> bool:
    """Whether `is_proven` holds for each content and what was given for it; in half the time where they are many."""
    signers = {f"{_FORM}.{key_id(key)}.": hmac.new(key.encode(), digestmod="sha256") for key in keys}
    made = []
    for content, text in zip(contents, given, strict=True):
        prefix = (text or "")[:_PREFIX]
        if prefix not in signers:
            return False
        mac = signers[prefix].copy()
        mac.update(content)
        made.append(prefix + mac.hexdigest()[:_MAC])
    return hmac.compare_digest("\n".join(made).encode(), "\n".join(filter(None, given)).encode())


@lru_cache(maxsize=64)
def key_id(key: str) -> str:
    """Says nothing about the key."""
    return hashlib.sha256(b"id of " + key.encode()).hexdigest()[:_KEY_ID]


def _mac(content: bytes, key: str) -> str:
    return hmac.digest(key.encode(), content, "sha256").hex()[:_MAC]
