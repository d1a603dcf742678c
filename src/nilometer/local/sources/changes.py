"""Records of a stream between the engine and a function: bytes that are handed on as they came.

An item is in two images of a record, and two functions read each record. So of a record only what its poller decides by
is decoded, and what filters name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from nilometer.local.plane.filters import Pattern, passes
from nilometer.local.sources.batches import encoded


@dataclass(frozen=True, slots=True)
class StreamChange:
    """`content` is the JSON of the record as Lambda hands it to a function; `written` in seconds since 1970."""

    content: bytes
    number: str
    written: float


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """An answer of GetRecords. `following` is the next iterator, None at the end of a closed shard."""

    changes: Sequence[StreamChange]
    following: str | None

    @classmethod
    def decoded(cls, content: bytes, stream_arn: str) -> ChangesPage:
        """Of the answer's body; binary values are in base64 and times are numbers, as Lambda hands them on."""
        try:
            page = _decode_page(content)
            changes = [_change(bytes(raw), _decode_written(raw), stream_arn) for raw in page.records]
        except msgspec.DecodeError:  # half a surrogate pair, which JSON can say and UTF-8 cannot
            return _slowly(json.loads(content), stream_arn)
        return cls(changes, page.following)


class _Page(msgspec.Struct):
    records: list[msgspec.Raw] = msgspec.field(name="Records")
    following: str | None = msgspec.field(name="NextShardIterator", default=None)


class _Written(msgspec.Struct):
    number: str = msgspec.field(name="SequenceNumber")
    at: float = msgspec.field(name="ApproximateCreationDateTime")


class _Record(msgspec.Struct):
    dynamodb: _Written
    identity: dict[str, str] | None = msgspec.field(name="userIdentity", default=None)


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_written = msgspec.json.Decoder(_Record).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _change(content: bytes, record: _Record, stream_arn: str) -> StreamChange:
    if record.identity is not None:
        content = encoded(_as_lambda_names(json.loads(content)))
    content = b'%b,"eventSourceARN":%b}' % (content[:-1], encoded(stream_arn))
    return StreamChange(content, record.dynamodb.number, record.dynamodb.at)


def _slowly(page: Mapping[str, Any], stream_arn: str) -> ChangesPage:
    records = [_as_lambda_names({**record, "eventSourceARN": stream_arn}) for record in page["Records"]]
    changes = [
        StreamChange(encoded(one), one["dynamodb"]["SequenceNumber"], one["dynamodb"]["ApproximateCreationDateTime"])
        for one in records
    ]
    return ChangesPage(changes, page.get("NextShardIterator"))


def _as_lambda_names(record: dict[str, Any]) -> dict[str, Any]:
    """Who removed an item stands under other names in Lambda's event than in GetRecords."""
    if identity := record.pop("userIdentity", None):
        record["userIdentity"] = {"type": identity["Type"], "principalId": identity["PrincipalId"]}
    return record


def passing(changes: Sequence[StreamChange], patterns: Sequence[Pattern]) -> list[StreamChange]:
    """Those that one of the patterns matches; all when there is none."""
    return [change for change in changes if not patterns or passes(_named(change.content, patterns), patterns)]


def _named(content: bytes, patterns: Sequence[Pattern]) -> Any:
    """The value, an object without the fields that no pattern names."""
    try:
        fields = _decode_fields(content)
    except msgspec.MsgspecError:  # no object, or half a surrogate pair
        return json.loads(content)
    asked = _asked(patterns)
    return {name: _named(bytes(value), asked[name]) for name, value in fields.items() if name in asked}


def _asked(patterns: Sequence[Pattern]) -> Mapping[str, list[Pattern]]:
    """By name of a field the patterns for the fields below it."""
    found: dict[str, list[Pattern]] = {}
    for pattern in patterns:
        for name, rule in pattern.items():
            if name == "$or":
                for each, below in _asked(rule).items():
                    found.setdefault(each, []).extend(below)
            else:
                found.setdefault(name, []).extend([rule] if isinstance(rule, Mapping) else ())
    return found
