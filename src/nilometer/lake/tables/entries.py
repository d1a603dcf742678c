"""Entries of a table's log: where one is, what it adds, and which keys it says that it adds.

Delta's `commitInfo` has room for what a writer wants to say; ours say a fingerprint of each key.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

KEYS = "nilometer.keys40"  # `nilometer.keys`, 32 bits of each, is of earlier versions: what it says is not used
AT_ONCE = 4
"""Entries that are read together where some may have come: one after the other, each would be one more race."""
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
        self.removes = any(line.remove for line in lines)
        self.app_ids = frozenset(line.txn.app_id for line in lines if line.txn)
        self.changes_table = any(line.metadata or line.protocol for line in lines)
        said = next((line.info.keys for line in lines if line.info), None)
        self.keys = None if said is None else frozenset(_unpacked(said))

    def may_add(self, app_ids: Collection[str], keys: Collection[int] | None) -> bool:
        """Whether it may add one of the keys, all of which are of commits with these ids; None are any keys."""
        if self.app_ids.isdisjoint(app_ids):
            return False
        return self.keys is None or keys is None or not self.keys.isdisjoint(keys)


def key_prints(keys: Sequence[Iterable[str]]) -> list[int]:
    """40 bits of each key, whose columns are `keys`: in one of 10,000 pairs of batches of 10,000 rows two that differ
    have the same."""
    return [
        zlib.crc32(key) << 8 | zlib.adler32(key) >> 16 & 0xFF
        for key in map(str.encode, map("\0".join, zip(*keys, strict=True)))
    ]


def packed(prints: Sequence[int]) -> str:
    """As an entry says them: 32 bits of each, then the last 8 bits of each."""
    high, low = (print_ >> 8 for print_ in prints), (print_ & 0xFF for print_ in prints)
    return b64encode(struct.pack(f"<{len(prints)}I{len(prints)}B", *high, *low)).decode()


def _unpacked(said: str) -> Iterable[int]:
    content = b64decode(said)
    number = len(content) // 5
    high = struct.unpack_from(f"<{number}I", content)
    return (part << 8 | last for part, last in zip(high, content[4 * number :], strict=True))


class _Add(msgspec.Struct):
    path: str


class _Remove(msgspec.Struct):
    path: str


class _Txn(msgspec.Struct):
    app_id: str = msgspec.field(name="appId")


class _Info(msgspec.Struct):
    keys: str | None = msgspec.field(name=KEYS, default=None)


class _Line(msgspec.Struct):
    """Of Delta's own names; https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions."""

    add: _Add | None = None
    remove: _Remove | None = None
    txn: _Txn | None = None
    info: _Info | None = msgspec.field(name="commitInfo", default=None)
    metadata: dict[str, object] | None = msgspec.field(name="metaData", default=None)
    protocol: dict[str, object] | None = None
