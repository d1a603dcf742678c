"""Writes as values: what a pure decision asks for. `aws.dynamodb.Store.commit` makes them true.

One commit is one DynamoDB transaction: at most 100 writes, 4 MB, no two on one item.
An item is a plain mapping of `str`, `int`, `Decimal`, `bool`, `None`, `bytes`, `list`, `dict` and sets of `str`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

Item = Mapping[str, Any]


class Table(StrEnum):
    """The two tables: what is true now, and every accepted fact once."""

    RECORDS = "records"
    EVENTS = "events"


class Key(NamedTuple):
    """The primary key of an item in either table."""

    pk: str
    sk: str


@dataclass(frozen=True, slots=True)
class Absent:
    """No item is stored under the key."""


@dataclass(frozen=True, slots=True)
class Present:
    """An item is stored under the key."""


@dataclass(frozen=True, slots=True)
class Version:
    """The stored item has this `version`: nobody wrote since it was read."""

    number: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The stored item has this `version`, and `equal` are its attributes.

    For records that are removed and begin anew at version 1: the version alone does not tell the new one from the old.
    """

    version: int
    equal: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Less:
    """The stored item has no such attribute, or one that is less than `value` (numbers or text)."""

    attribute: str
    value: int | Decimal | str


@dataclass(frozen=True, slots=True)
class Enough:
    """The stored item has at least `amount` of `attribute`, and `equal` are its attributes."""

    attribute: str
    amount: int | Decimal
    equal: Mapping[str, Any]


Expected = Absent | Present | Version | Unchanged | Less | Enough


def new_item(key: Key, kind: str, version: int = 1, /, **attributes: Any) -> dict[str, Any]:
    """The item under `key`: what every item has, and its own `attributes`."""
    return {"pk": key.pk, "sk": key.sk, "kind": kind, "version": version, **attributes}


def version_after(item: Item | None) -> int:
    """The number of the next version of what is stored; 1 for what is not."""
    return int(item["version"]) + 1 if item else 1


def unchanged(item: Item, *attributes: str) -> Unchanged:
    """That `item` is still as it was read, and no later record under its key that says the same of `attributes`."""
    return Unchanged(int(item["version"]), {name: item[name] for name in attributes})


def version_of(item: Item | None) -> Absent | Version:
    """What must still hold for a decision made on `item` to be written."""
    return Absent() if item is None else Version(int(item["version"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Replace the whole item. `item` carries its own `pk` and `sk`, `kind` and `version`."""

    table: Table
    item: Item
    expected: Expected | None = None

    @property
    def key(self) -> Key:
        """Taken from the item; `KeyError` when `pk` or `sk` is not in it."""
        return Key(self.item["pk"], self.item["sk"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Change attributes in place: numbers added, values set, values set once.

    Creates the item when it is absent. Atomic; `add` needs no read.
    """

    table: Table
    key: Key
    add: Mapping[str, int | Decimal] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    set_once: Mapping[str, Any] = field(default_factory=dict)
    expected: Expected | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove the item; nothing happens when it is absent and nothing is expected."""

    table: Table
    key: Key
    expected: Expected | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Change nothing, but cancel the transaction unless `expected` holds."""

    table: Table
    key: Key
    expected: Expected


Write = Put | Update | Delete | Check
