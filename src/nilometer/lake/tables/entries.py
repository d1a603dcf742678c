"""Entries of a table's log: where one is, what it adds, and which keys it says that it adds.

Delta's `commitInfo` has room for what a writer wants to say; ours say a fingerprint of each key.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence

import msgspec

KEYS = "nilometer.keys"
ReadEntries = Callable[[Sequence[int]], Sequence[bytes | None]]
"""The entries of some versions; None of one that is not there."""


def entry_uri(table_uri: str, version: int) -> str:
    """Of the entry that makes the version."""
    return f"{table_uri}/_delta_log/{version:020}.json"


class Commit:
    """What matters of an entry; `keys` are the fingerprints that it says, None when it says none."""

    def __init__(self, entry: bytes) -> None:
        lines = msgspec.json.Decoder(_Line).decode_lines(entry)
        self.paths = frozenset(line.add.path for line in lines if line.add)
        self.app_ids = frozenset(line.txn.app_id for line in lines if line.txn)
        self.changes_table = any(line.metadata or line.protocol for line in lines)
        said = next((line.info.keys for line in lines if line.info), None)
        self.keys = None if said is None else frozenset(_unpacked(said))

    def may_share_keys_with(self, other: Commit) -> bool:
        """False only when both say what they add, and nothing of it is the same."""
        return self.keys is None or other.keys is None or not self.keys.isdisjoint(other.keys)


def key_prints(keys: Sequence[Iterable[str]]) -> list[int]:
    """32 bits of each key, whose columns are `keys`: in one of 40 pairs of batches of 10,000 rows two that differ have
    the same."""
    return list(map(zlib.crc32, map(str.encode, map("\0".join, zip(*keys, strict=True)))))


def packed(prints: Sequence[int]) -> str:
    """As an entry says them."""
    return b64encode(struct.pack(f"<{len(prints)}I", *prints)).decode()


def _unpacked(said: str) -> tuple[int, ...]:
    content = b64decode(said)
    return struct.unpack(f"<{len(content) // 4}I", content)


class _Add(msgspec.Struct):
    path: str


class _Txn(msgspec.Struct):
    app_id: str = msgspec.field(name="appId")


class _Info(msgspec.Struct):
    keys: str | None = msgspec.field(name=KEYS, default=None)


class _Line(msgspec.Struct):
    """Of Delta's own names; https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions."""

    add: _Add | None = None
    txn: _Txn | None = None
    info: _Info | None = msgspec.field(name="commitInfo", default=None)
    metadata: msgspec.Raw | None = msgspec.field(name="metaData", default=None)
    protocol: msgspec.Raw | None = None
