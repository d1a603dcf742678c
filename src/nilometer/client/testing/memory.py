"""The two tables and a bucket in the process: as `Store` and `Objects` answer, thousands of times a second.

Conditions, transactions, cancellation reasons and DynamoDB's bounds are those of the service, so that what it would
refuse is refused here: keys, numbers of 38 digits, items of 400 KB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from nilometer.aws.dynamodb import TRANSACTION_LIMIT, Store
from nilometer.aws.items import from_attribute, to_attribute
from nilometer.client.testing.conditions import holds
from nilometer.domain.store.writes import (
    Check,
    Item,
    Key,
    Put,
    Table,
    Update,
    Write,
)
from nilometer.errors import Cancelled, Rejected

ITEM_BYTES = 400 * 1024
TRANSACTION_BYTES = 4 * 1024 * 1024
PARTITION_BYTES, SORT_BYTES = 2048, 1024
_EXACT = Context(prec=38, Emin=-130, Emax=125, traps=[Inexact, InvalidOperation])

_FEW = 18  # characters of a whole number that fits

Items = dict[tuple[Table, Key], dict[str, Any]]


class MemoryStore(Store):
    """Items as DynamoDB would give them back. `copy` costs a dictionary: items are replaced and never changed."""

    def __init__(self, items: Items | None = None) -> None:
        self.items: Items = dict(items or {})
        self.requests = 0
        self.write_units = 0.0

    def copy(self) -> MemoryStore:
        """Of the dictionary; the items are shared."""
        return MemoryStore(self.items)

    def get(self, table: Table, key: Key, *, consistent: bool = False) -> dict[str, Any] | None:
        _check_key(key)
        found = self.items.get((table, key))
        return dict(found) if found else None

    def batch_get(
        self, table: Table, keys: Iterable[Key], *, consistent: bool = False, attributes: Sequence[str] = ()
    ) -> dict[Key, dict[str, Any]]:
        wanted = dict.fromkeys(keys)
        for key in wanted:
            _check_key(key)
        found = {key: self.items[table, key] for key in wanted if (table, key) in self.items}
        names = {"pk", "sk", *attributes}
        return {
            key: {name: value for name, value in item.items() if not attributes or name in names}
            for key, item in found.items()
        }

    def batch_get_both(
        self, events: Iterable[Key], records: Iterable[Key], *, consistent: bool = False
    ) -> tuple[Set[Key], dict[Key, dict[str, Any]]]:
        return self.batch_get(Table.EVENTS, events).keys(), self.batch_get(Table.RECORDS, records)

    def query(
        self,
        table: Table,
        pk: str,
        *,
        prefix: str = "",
        after: str = "",
        consistent: bool = False,
        newest_first: bool = False,
        page: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        def follows(sk: str) -> bool:
            return not after or (sk < after if newest_first else sk > after)

        found = [
            item
            for (of, key), item in self.items.items()
            if of is table and key.pk == pk and key.sk.startswith(prefix) and follows(key.sk)
        ]
        yield from map(dict, sorted(found, key=lambda item: item["sk"].encode(), reverse=newest_first))

    def query_index(
        self, gsi1pk: str, *, prefix: str = "", until: str = "", newest_first: bool = False
    ) -> Iterator[dict[str, Any]]:
        found = [
            item
            for (of, _), item in self.items.items()
            if of is Table.RECORDS and item.get("gsi1pk") == gsi1pk and item["gsi1sk"].startswith(prefix)
            if not until or item["gsi1sk"] <= until
        ]
        yield from map(dict, sorted(found, key=lambda item: item["gsi1sk"].encode(), reverse=newest_first))

    def query_list(self, kind: str, *, after: str = "") -> Iterator[Key]:
        found = (
            key
            for (of, key), item in self.items.items()
            if of is Table.RECORDS and item.get("gsi2pk") == kind and key.pk > after
        )
        yield from sorted(found, key=lambda key: key.pk.encode())

    def unlisted(
        self, table: Table, kinds: Sequence[str], *, after: Key | None = None
    ) -> Iterator[tuple[list[Key], Key | None]]:
        found = (Key(item["pk"], item["sk"]) for item in self.walk(table, kinds, after=after) if "gsi2pk" not in item)
        yield list(found), None

    def scan(self, table: Table, *, kind: str | None = None) -> Iterator[dict[str, Any]]:
        yield from (
            dict(item)
            for (of, _), item in list(self.items.items())
            if of is table and (kind is None or item.get("kind") == kind)
        )

    def walk(self, table: Table, kinds: Sequence[str], *, after: Key | None = None) -> Iterator[dict[str, Any]]:
        found = sorted((key, item) for (of, key), item in self.items.items() if of is table and item["kind"] in kinds)
        yield from (dict(item) for key, item in found if after is None or key > after)

    def commit(self, writes: Sequence[Write], *, returning: bool = False) -> None:
        if len(writes) > TRANSACTION_LIMIT:
            raise ValueError(f"{len(writes)} writes in one commit")
        keys = [(write.table, write.key) for write in writes]
        if len(set(keys)) != len(keys):
            raise Rejected("too_large", "two writes on one item")
        after = [_after(write, self.items.get(key)) for write, key in zip(writes, keys, strict=True)]
        held = [holds(self.items.get(key), write.expected) for write, key in zip(writes, keys, strict=True)]
        if sum(size for _, size in after) > TRANSACTION_BYTES:
            raise Rejected("too_large", "a transaction over 4 MB")
        if not all(held):
            lost = {n: self.items[key] for n, key in enumerate(keys) if not held[n] and key in self.items}
            raise Cancelled(["None" if one else "ConditionalCheckFailed" for one in held], lost if returning else {})
        for write, key, (item, _) in zip(writes, keys, after, strict=True):
            self._store(write, key, item)

    def _store(self, write: Write, key: tuple[Table, Key], item: dict[str, Any] | None) -> None:
        if isinstance(write, Check):
            return
        if item is None:
            self.items.pop(key, None)
        else:
            self.items[key] = item

    def put(self, write: Put) -> None:
        self.commit([write])

    def delete_all(self, table: Table, keys: Iterable[Key]) -> None:
        for key in keys:
            self.items.pop((table, key), None)

    def put_all(self, table: Table, items: Iterable[Item]) -> None:
        for item in items:
            stored, _ = _checked(item)
            self.items[table, Key(stored["pk"], stored["sk"])] = stored


class MemoryObjects:
    """A bucket by the hash of its content."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def put(self, prefix: str, content: bytes) -> str:
        """Under its hash; the key."""
        key = f"{prefix}/{hashlib.sha256(content).hexdigest()}"
        self.contents[key] = content
        return key

    def get(self, key: str) -> bytes:
        """`Rejected` when it is not there."""
        if key not in self.contents:
            raise Rejected("claim_broken", "it does not exist")
        return self.contents[key]

    def below(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Key and content, in the order of the keys."""
        yield from ((key, content) for key, content in sorted(self.contents.items()) if key.startswith(prefix))


def _after(write: Write, stored: Item | None) -> tuple[dict[str, Any] | None, int]:
    """The item and its size; None and 0 where none is left."""
    match write:
        case Put():
            return _checked(write.item)
        case Update():
            item = {"pk": write.key.pk, "sk": write.key.sk, **(stored or {}), **write.set}
            item = {**write.set_once, **item}
            return _checked(item | {name: item.get(name, 0) + number for name, number in write.add.items()})
    _check_key(write.key)
    return None, 0


def _checked(item: Item) -> tuple[dict[str, Any], int]:
    """As it comes back, and its size; `Rejected` or `TypeError` as marshalling and the service would answer."""
    _check_key(Key(item["pk"], item["sk"]))
    kept, size = {}, 0
    for name, value in item.items():
        kept[name], weight = _kept(value)
        size += len(name.encode()) + weight
    if size > ITEM_BYTES:
        raise Rejected("too_large", "Item size has exceeded the maximum allowed size")
    for name in ("gsi1pk", "gsi1sk"):
        if name in item and not 0 < len(item[name].encode()) <= (PARTITION_BYTES if name == "gsi1pk" else SORT_BYTES):
            raise Rejected("too_large", f"{name} is empty or too long")
    return kept, size


def _kept(value: Any) -> tuple[Any, int]:
    """One attribute as it comes back, and its bytes. Most are texts, which stay as they are, as do whole numbers."""
    if type(value) is str:
        return value, len(value) if value.isascii() else len(value.encode())
    if type(value) is bytes:
        return value, len(value)
    if type(value) is int:
        text = str(value)
        _check_number(text)
        return value, len(text) // 2 + 2
    if type(value) is list:
        return _kept_list(value)
    attribute = to_attribute(value)
    return from_attribute(attribute), _weight(attribute)


def _kept_list(values: list[Any]) -> tuple[list[Any], int]:
    """The same of a list: of whole numbers, or of pairs of them, as most are, without a call for each."""
    if (size := _size_of_numbers(values)) is not None:
        return list(values), size
    if values and set(map(type, values)) == {list}:
        size = _size_of_numbers([one for some in values for one in some])
        if size is not None:
            return list(map(list, values)), size + 3 * len(values)
    kept = [_kept_list(one) if type(one) is list else _kept(one) for one in values]
    return [one for one, _ in kept], 3 + sum([weight for _, weight in kept])


def _size_of_numbers(values: list[Any]) -> int | None:
    """Of a list of whole numbers with few digits; None of any other."""
    if not set(map(type, values)) <= {int}:
        return None
    digits = [len(str(one)) for one in values]
    if max(digits, default=0) > _FEW:
        return None
    return 3 + 2 * len(digits) + sum([many // 2 for many in digits])


def _check_key(key: Key) -> None:
    if not 0 < len(key.pk.encode()) <= PARTITION_BYTES or not 0 < len(key.sk.encode()) <= SORT_BYTES:
        raise Rejected("too_large", "a key is empty or too long")


def _weight(attribute: Mapping[str, Any]) -> int:
    [(tag, value)] = attribute.items()
    match tag:
        case "S":
            return len(value.encode())
        case "B":
            return len(value)
        case "N":
            _check_number(value)
            return len(value) // 2 + 2
        case "L":
            return 3 + sum(map(_weight, value))
        case "M":
            return 3 + sum(len(name.encode()) + _weight(one) for name, one in value.items())
        case "SS":
            return sum(len(one.encode()) for one in value)
    return 1


def _check_number(text: str) -> None:
    if len(text) <= _EXACT.prec and text.isdecimal():
        return
    try:
        _EXACT.create_decimal(Decimal(text).normalize(Context(prec=10_000)))
    except (Inexact, InvalidOperation) as error:
        raise Rejected("too_large", "a number of more than 38 digits, or out of range") from error
