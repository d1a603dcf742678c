"""The subscriptions of a large customer in parts, so that an event reads, folds and writes the one that it changes.

A part holds plain subscriptions by a hash of their ids: active or trialing, and nothing that an operator should know.
It is an item of its own (`billing_part`), beside the customer's registers, so that it stays where it is when the
customer moves to another workspace. The record has all other views, and of each part its version, a digest and the sum
of its subscriptions, with their billing periods from a floor on: below it are those that do not count, however many
subscriptions there are. Parts are written in the transaction of the record. What is needed and not read yet raises
`PartsNeeded`; as a mapping the whole is the same as a `dict`.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

from nilometer.domain.billing.group import (
    COUNTING,
    MOST_PERIODS,
    Alike,
    Bounds,
    Known,
    Torn,
    View,
    Views,
    alike,
    kind_of,
    newest_periods,
)
from nilometer.domain.store import compressed, keys
from nilometer.domain.store.segments import Segment
from nilometer.domain.store.writes import Absent, Delete, Item, Key, Put, Table, Version, Write, new_item

PART = 32  # subscriptions of a new part, at least
PARTED = 3 * PART  # plain subscriptions of a customer that are worth parts; half of them are more than a record names
MOST = 32  # parts of a customer: one transaction makes all of them, beside much else
_GROWN = 4  # times as many in a part: then the parts are too few
_SHRUNK = 8  # a part of as many in each: then they are too many
NAMES = 2  # ids of those that are alike: one that is not the base's is enough where they are many
_PLAIN = frozenset({"active", "trialing"})
_TELLING = frozenset({"doubt", "has_more", "unreadable"})

as_text = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=int).encode
_value_at = json.JSONDecoder().raw_decode


class PartsNeeded(Torn):
    """Parts are needed and not here: `keys` in the records table. Or they are read, and another version than the
    record says."""

    def __init__(self, needed: Iterable[Key]) -> None:
        super().__init__("parts of a billing record are not read, or the record is newer than they are")
        self.keys = frozenset(needed)


class PartPlace(NamedTuple):
    """Where a part is, and which: `digest` is of its text."""

    key: Key
    version: int
    digest: str


class Part:
    """Read when it is asked for; the sums are known. Nothing else of it changes."""

    def __init__(self, place: PartPlace, alikes: Sequence[Alike], held: Held | None = None) -> None:
        self.place = place
        self.alikes = alikes
        self.count = sum([one.count for one in alikes])
        """Of its subscriptions."""
        self.noted: tuple[Bounds, str] | None = None
        """The floor, and the text that the record has of it."""
        self._held = held if alikes else _NOTHING

    @property
    def views(self) -> Views:
        """Its subscriptions."""
        return self._read.views

    @property
    def text(self) -> str:
        """As it is stored."""
        return self._read.text

    @property
    def is_read(self) -> bool:
        """Whether its subscriptions are here."""
        return self._held is not None

    @cached_property
    def sums(self) -> Sequence[Alike]:
        """`alikes` without their periods."""
        return [replace(one, periods=()) for one in self.alikes]

    @cached_property
    def periods(self) -> Sequence[Bounds]:
        """The newest of `alikes`, ascending."""
        return newest_periods((one.periods for one in self.alikes), MOST_PERIODS)

    @property
    def _read(self) -> Held:
        if self._held is None:
            raise PartsNeeded([self.place.key])
        return self._held

    def read(self, item: Item | None) -> None:
        """Its item; one of another version changes nothing."""
        if item and (item["version"], item["digest"]) == self.place[1:]:
            self._held = held_of(compressed.unpack(bytes(item["views"])).decode())

    def with_views(self, views: Mapping[str, View | None]) -> Part:
        """`views` replace those of the same objects; None removes."""
        before = self.views
        if all(before.get(name) == view for name, view in views.items()):
            return self
        return _part(self.place.key, self.place.version + 1, self._read.changed(views))


class Held(NamedTuple):
    """The subscriptions of a part, and of each its JSON and what makes it alike: of an event one is another."""

    views: Mapping[str, View]
    texts: Mapping[str, str]
    kinds: Mapping[str, Any]

    @property
    def text(self) -> str:
        """JSON of all, in order."""
        return f"{{{','.join([self.texts[name] for name in sorted(self.texts)])}}}"

    def changed(self, views: Mapping[str, View | None]) -> Held:
        """`views` replace those of the same objects; None removes."""
        new = {name: view for name, view in views.items() if view is not None}
        gone = views.keys() - new.keys()
        kept = self.without(gone) if gone else self
        texts = {name: f"{as_text(name)}:{as_text(view)}" for name, view in new.items()}
        kinds = {name: kind_of(name, view) for name, view in new.items()}
        return Held({**kept.views, **new}, {**kept.texts, **texts}, {**kept.kinds, **kinds})

    def without(self, names: Set[str]) -> Held:
        """All others."""
        left = [name for name in self.views if name not in names]
        views, texts, kinds = self
        return Held({n: views[n] for n in left}, {n: texts[n] for n in left}, {n: kinds[n] for n in left})


_NOTHING = Held({}, {}, {})


def held_of(text: str) -> Held:
    """The inverse of `text`."""
    views, texts, start = dict[str, View](), dict[str, str](), 1
    while start < len(text) - 1:
        name, middle = _value_at(text, start)
        view, end = _value_at(text, middle + 1)
        views[name], texts[name] = view, text[start:end]
        start = end + 1
    return Held(views, texts, {name: kind_of(name, view) for name, view in views.items()})


class PartedViews(Mapping[str, View]):
    """`loose` are in the record, all others in `parts`, whose sums have all periods from `floor` on."""

    def __init__(
        self,
        loose: dict[str, View],
        parts: Sequence[Part],
        floor: Bounds = (0, 0),
        periods: Sequence[Bounds] | None = None,
    ) -> None:
        self.loose = loose
        self.parts = parts
        self.floor = floor
        self.stored: Segment | None = None
        """As it goes into the record."""
        self._periods = periods

    def __getitem__(self, name: str) -> View:
        return self.loose[name] if name in self.loose else self._part_of(name).views[name]

    def __iter__(self) -> Iterator[str]:
        if unread := self.unread:
            raise PartsNeeded(unread)
        yield from self.loose
        for one in self.parts:
            yield from one.views

    def __len__(self) -> int:
        return len(self.loose) + sum(one.count for one in self.parts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PartedViews) or len(other.parts) != len(self.parts):
            return super().__eq__(other)
        pairs = zip(self.parts, other.parts, strict=True)
        return self.loose == other.loose and all(one is two or one.views == two.views for one, two in pairs)

    __hash__ = None  # type: ignore[assignment]  # as of any mapping that can be compared

    @cached_property
    def alikes(self) -> Sequence[Alike]:
        """The sums of the parts' subscriptions, without their periods. `PartsNeeded` when another one than before is
        the newest of its kind: its view is in its part alone."""
        made = list(alike("", {}, [one for part in self.parts for one in part.sums]))
        if unread := {part.place.key for one in made if not (one.own or (part := self._part_of(one.id)).is_read)}:
            raise PartsNeeded(unread)
        return [one if one.own else replace(one, view=self[one.id], own=True) for one in made]

    @property
    def periods(self) -> Sequence[Bounds]:
        """Those of the parts' subscriptions from the floor on, ascending: the newest."""
        if self._periods is None:
            newest = newest_periods([one.periods for one in self.parts], MOST_PERIODS)
            self._periods = newest[bisect_left(newest, self.floor) :]
        return self._periods

    def fits(self, size: int) -> bool:
        """Whether the parts are as many as they should be, and their sums have all periods that count. `size`: of a new
        part, in subscriptions."""
        counts = [one.count for one in self.parts]
        told = self.floor == (0, 0) or len(self.periods) >= COUNTING
        enough = len(counts) == MOST or max(counts) <= _GROWN * size
        few = len(counts) == 1 or sum(counts) * _SHRUNK >= len(counts) * size
        return told and enough and few and sum(counts) >= PARTED // 2

    @property
    def unread(self) -> list[Key]:
        """Of the parts that are not here."""
        return [one.place.key for one in self.parts if not one.is_read]

    @property
    def places(self) -> dict[Key, PartPlace]:
        """Of all parts."""
        return {one.place.key: one.place for one in self.parts}

    def raised(self) -> Bounds:
        """The floor for the record: the old one, until twice as many periods as count are above it."""
        known = self.periods
        return self.floor if len(known) < MOST_PERIODS else known[-COUNTING * 3 // 2]

    def changed(self, views: Mapping[str, View | None]) -> Views:
        """`views` replace those of the same objects; None removes. Only their parts are made anew."""
        loose, of_part = dict(self.loose), dict[Part, dict[str, View | None]]()
        for name, view in views.items():
            plain = view if view and _is_plain(view) else None
            if view is not None and plain is None:
                loose[name] = view
            else:
                loose.pop(name, None)
            if plain or (name not in self.loose and (view is None or view["object"] == "subscription")):
                of_part.setdefault(self._part_of(name), {})[name] = plain
        if unread := [one.place.key for one in of_part if not one.is_read]:
            raise PartsNeeded(unread)
        parts = [one.with_views(of_part[one]) if one in of_part else one for one in self.parts]
        floor = self.raised()
        if any(new.periods != one.periods for new, one in zip(parts, self.parts, strict=True)):
            return PartedViews(loose, parts, floor)
        return PartedViews(loose, parts, floor, self.periods[bisect_left(self.periods, floor) :])

    def read(self, known: Known) -> None:
        """Those parts that are `known`."""
        for one in self.parts:
            if not one.is_read:
                one.read(known.get(one.place.key))

    def _part_of(self, name: str) -> Part:
        return self.parts[_slot(name, len(self.parts))]


def size_of(subscriptions: int) -> int:
    """Of a new part in a record of so many: what an event writes, its part and the sums of all, is then least."""
    return max(PART, 1 << math.isqrt(2 * subscriptions + 1).bit_length() - 1)


def parted(customer: str, views: Views, before: Mapping[Key, PartPlace], size: int) -> Views:
    """In parts, when the plain subscriptions are many, and in as many as they need. `customer` is its name in records,
    `before` are the parts that are stored, `size` is that of a new one."""
    if views.fits(size) if type(views) is PartedViews else len(views) < PARTED:
        return views
    plain = [name for name, view in views.items() if _is_plain(view)]
    if len(plain) < PARTED:
        return dict(views)
    held: list[dict[str, View]] = [{} for _ in range(min(MOST, 1 << (len(plain) // size).bit_length()))]
    for name in plain:
        held[_slot(name, len(held))][name] = views[name]
    placed = ((part_key(customer, slot), one) for slot, one in enumerate(held))
    versions = ((key, before[key].version + 1 if key in before else 1, one) for key, one in placed)
    parts = [_part(key, version, _NOTHING.changed(one)) for key, version, one in versions]
    return PartedViews({name: view for name, view in views.items() if not _is_plain(view)}, parts)


def part_key(customer: str, slot: int) -> Key:
    """Of a part. `customer` is its name in records."""
    account, mode, customer_id = customer.split("/", 2)
    return keys.billing_part(account, mode == "live", customer_id, slot)


def part_of(customer: str, subscription: str, slots: int) -> Key:
    """Of a subscription, when the customer has so many parts."""
    return part_key(customer, _slot(subscription, slots))


def part_writes(before: Mapping[Key, PartPlace], after: Views, *, cause: str, updated_at: str) -> Iterator[Write]:
    """Of one customer: the parts that are not as they were `before`, each on condition that it is as it was read."""
    parts = after.parts if type(after) is PartedViews else ()
    for one in parts:
        if (stored := before.get(one.place.key)) != one.place:
            expected = Version(stored.version) if stored else Absent()
            yield Put(table=Table.RECORDS, item=_part_item(one, cause, updated_at), expected=expected)
    for key in before.keys() - {one.place.key for one in parts}:
        yield Delete(table=Table.RECORDS, key=key, expected=Version(before[key].version))


def _part_item(part: Part, cause: str, updated_at: str) -> Item:
    key, version, digest = part.place
    views = compressed.pack_record(part.text.encode())
    return new_item(
        key, "billing_part", version, updated_at=updated_at, cause=cause, actor=None, digest=digest, views=views
    )


def _part(key: Key, version: int, held: Held) -> Part:
    digest = hashlib.blake2b(held.text.encode(), digest_size=6).hexdigest()
    sums = [replace(one, names=one.names[:NAMES]) for one in alike("", held.views, kinds=held.kinds)]
    return Part(PartPlace(key, version, digest), sums, held)


def _is_plain(view: View) -> bool:
    return view["object"] == "subscription" and view.get("status") in _PLAIN and _TELLING.isdisjoint(view)


def _slot(name: str, slots: int) -> int:
    return zlib.crc32(name.encode()) & (slots - 1)
