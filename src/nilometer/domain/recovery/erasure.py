"""Erasing a person: what names him in an item, and what becomes of it.

| what                                      | becomes                                                              |
|-------------------------------------------|----------------------------------------------------------------------|
| Stripe's events, reported operations      | redacted as the lake has them: ids, amounts and states stay          |
| rejects                                   | without payload and message, and dismissed                           |
| ended invitations, notifications,         |                                                                      |
| preferences, onboarding                   | removed                                                              |
| an open invitation, usage that waits,     |                                                                      |
| a text of ours with an address in it      | left for now, with what to do first                                  |
| everything else                           | kept: it holds ids, and no name, address or text of a person         |
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from nilometer.domain.lake import redaction
from nilometer.domain.people.invitation import InvitationStatus
from nilometer.domain.store.compressed import unpack
from nilometer.domain.store.keys import part
from nilometer.domain.store.times import rfc3339, rfc3339_of
from nilometer.domain.store.writes import Delete, Item, Key, Put, Table, Write, version_after, version_of
from nilometer.errors import Rejected

LEAST = 4  # characters of an identifier: a shorter one would be found in what is somebody else's
MOST = 64_000_000  # bytes that are searched of what a stranger may have compressed
REMOVED = frozenset({"notification", "unread", "preference", "onboarding"})
"""Kinds that are a person's own, and of no use without him."""
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Fate(StrEnum):
    """What becomes of what names a person."""

    ERASE = "erase"
    LATER = "later"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Person:
    """Everything by which one person is known: user ids, Stripe customer ids, e-mail addresses."""

    ids: frozenset[str]
    addresses: frozenset[str]
    """Case-folded: found in any text and in any case, while an id is the whole of a text or a part of a key."""

    @classmethod
    def of(cls, identifiers: Iterable[str]) -> Self:
        """`Rejected` for none, and for one that is too short to be anybody's alone."""
        given = {one.strip() for one in identifiers}
        if not given or any(len(one) < LEAST for one in given):
            raise Rejected("invalid_schema", f"name a person by ids or addresses of at least {LEAST} characters")
        return cls(
            ids=frozenset(one for one in given if "@" not in one),
            addresses=frozenset(one.casefold() for one in given if "@" in one),
        )

    def known_as(self, *ids: str) -> Person:
        """The same person, by these ids too."""
        return Person(self.ids.union(ids), self.addresses)

    def is_named_in(self, value: Any) -> bool:
        """Whether one of the names stands in a text at any depth, in a name of a field, or in JSON: compressed, line by
        line, as a text inside JSON, or as the bytes of a stream's record."""
        return any(map(self._is_named, _texts(value)))

    def is_addressed_in(self, value: Any) -> bool:
        """The same of the addresses alone."""
        return any(map(self.has_address_in, _texts(value)))

    def has_address_in(self, text: str) -> bool:
        """Whether an address stands in the text."""
        folded = text.casefold()
        return any(address in folded for address in self.addresses)

    def _is_named(self, text: str) -> bool:
        parts = text.split("#") if "#" in text else ()  # of a key, in which an id is escaped
        return self.has_address_in(text) or text in self.ids or any(part(one) in parts for one in self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureVerdict:
    """`writes` erase it, together."""

    fate: Fate
    why: str
    writes: tuple[Write, ...] = ()


def of_record(item: Item, person: Person) -> ErasureVerdict:
    """Of an item of the records table that names the person."""
    kind = str(item["kind"])
    if kind == "invitation":
        if item["status"] == InvitationStatus.PENDING:
            who = f"{item['workspace_id']} {item['invitation_id']}"
            return ErasureVerdict(
                fate=Fate.LATER, why=f"still open: nilometer invite revoke {who}, then run this again"
            )
        return ErasureVerdict(fate=Fate.ERASE, why="removed", writes=(_removed(Table.RECORDS, item),))
    if kind in REMOVED:
        return ErasureVerdict(fate=Fate.ERASE, why="removed", writes=(_removed(Table.RECORDS, item),))
    if kind == "membership" and item["status"] == "active":
        who = f"{item['workspace_id']} {item['user_id']}"
        return ErasureVerdict(
            fate=Fate.LATER, why=f"still a member: nilometer member remove {who}, then run this again"
        )
    if private := sorted(_addressed(item, person)):
        why = f"the address is in its {', '.join(private)}: change it, then run this again"
        return ErasureVerdict(fate=Fate.LATER, why=why)
    return ErasureVerdict(fate=Fate.KEEP, why="holds ids, and no text of a person")


def _addressed(item: Item, person: Person) -> Iterator[str]:
    """Names of fields for texts, at any depth, in which an address stands. An id may be an address, and stays."""
    left: list[Any] = [item]
    while left:
        match left.pop():
            case dict() as fields:
                private = {name for name in fields if redaction.is_private(name)}
                yield from (name for name in private if person.is_addressed_in(fields[name]))
                left += (value for name, value in fields.items() if name not in private)
            case list() as several:
                left += several


def of_event(item: Item, *, now: datetime) -> ErasureVerdict:
    """Of an item of the events table that names the person; but a Stripe event, whose payload decides it."""
    match item["kind"]:
        case "operation":
            data = redaction.image({"data": item.get("data")})["data"]
            if data == item.get("data"):
                return ErasureVerdict(fate=Fate.KEEP, why="holds ids, and no text of a person")
            return ErasureVerdict(
                fate=Fate.ERASE, why="data redacted as in the lake", writes=(_changed(item, data=data),)
            )
        case "reject":
            return _reject(item, now)
        case "waiting_usage":
            until = rfc3339_of(int(item["expires_at"]))
            return ErasureVerdict(fate=Fate.LATER, why=f"not accepted or refused yet, at the latest {until}")
        case _:
            return ErasureVerdict(fate=Fate.KEEP, why="the identity of a counted fact: gone when it expires")


def _reject(item: Item, now: datetime) -> ErasureVerdict:
    if not item.get("payload") and "claim" not in item and item["message"] == redaction.REDACTED:
        return ErasureVerdict(fate=Fate.KEEP, why="holds a reason and ids, and no payload")
    bare = {name: value for name, value in item.items() if name not in {"payload", "claim"}}
    return ErasureVerdict(
        fate=Fate.ERASE,
        why="payload and message removed, dismissed",
        writes=(_changed(bare, payload="", message=redaction.REDACTED, erased_at=rfc3339(now)),),
    )


def _changed(item: Item, **attributes: Any) -> Put:
    changed = {**item, **attributes, "version": version_after(item)}
    return Put(table=Table.EVENTS, item=changed, expected=version_of(item))


def with_payload(item: Item, place: Mapping[str, Any]) -> Put:
    """The fact with another payload, or with a claim of one."""
    bare = {name: value for name, value in item.items() if name not in {"payload", "claim"}}
    return _changed(bare, **place)


def _removed(table: Table, item: Item) -> Delete:
    return Delete(table=table, key=Key(item["pk"], item["sk"]), expected=version_of(item))


def _texts(value: Any) -> Iterator[str]:
    """However deep they are."""
    left = [value]
    while left:
        match left.pop():
            case str() as text:
                yield text
                left += _parsed(text)
            case bytes() as content:
                left.append(_unpacked(content))
            case {"B": str() as encoded, **others} if not others:
                left += (encoded, _decoded(encoded))
            case dict() as fields:
                left += fields.keys()
                left += fields.values()
            case list() | set() | frozenset() | tuple() as several:
                left += several


def _parsed(text: str) -> Iterable[Any]:
    """The value of JSON, or the texts in quotes of what is JSON in part: several lines, cut off, nested too deep."""
    if text.lstrip()[:1] not in {"{", "["}:
        return ()
    try:
        return (json.loads(text),)
    except (ValueError, RecursionError):
        return map(_unquoted, _QUOTED.findall(text))


def _unquoted(quoted: str) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError:
        return quoted[1:-1]


def _unpacked(content: bytes) -> str:
    """Of what is compressed or not."""
    try:
        text = content if content[:1] in {b"{", b"["} else unpack(content, most=MOST)
    except zlib.error:
        text = content
    return text.decode(errors="replace")


def _decoded(encoded: str) -> bytes:
    """Of bytes as a record of a stream has them; nothing of another text."""
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        return b""
