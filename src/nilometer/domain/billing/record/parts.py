"""The views of a large customer in parts, so that an event decodes, folds and compresses the one that it changes.

A part holds plain subscriptions by a hash of their ids: active or trialing, and nothing that an operator should know.
All other views are loose. Beside each part is the sum of its subscriptions, with their billing periods from a floor on:
below it are those that do not count, however many subscriptions there are. Which views are where says nothing: as a
mapping it is the same as a `dict`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from heapq import nlargest

from nilometer.domain.billing.group import NEWEST_PERIODS, PERIODS, Alike, Bounds, View, Views, alike
from nilometer.domain.store.segments import Segment, segment

PART = 32  # subscriptions of a part, when it is new
PARTED = 3 * PART  # plain subscriptions of a customer that are worth parts; half of them are more than a record names
_GROWN = 4  # times as many: then the parts are too few
_COUNTING = NEWEST_PERIODS + PERIODS  # periods that count, and those of them that the base may have too
UNKNOWN: Bounds = (1 << 62, 0)
"""The floor of sums that do not say theirs: no period is above it."""
_PLAIN = frozenset({"active", "trialing"})
_TELLING = frozenset({"doubt", "has_more", "unreadable"})

as_text = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=int).encode


class Part:
    """Read when it is asked for. `segment` is its text as it goes into the record: a comma before each view."""

    def __init__(self, segment: Segment, alikes: Sequence[Alike], views: Views | None = None) -> None:
        self.segment = segment
        self.alikes = alikes
        self.noted: tuple[Bounds, str] | None = None
        """The floor, and the text that the note of the record has of it."""
        self._views = views

    @property
    def views(self) -> Views:
        """Its subscriptions."""
        if self._views is None:
            self._views = json.loads(b"{" + self.segment.text()[1:] + b"}")
        return self._views

    @property
    def count(self) -> int:
        """Of its subscriptions."""
        return sum(one.count for one in self.alikes)


class PartedViews(Mapping[str, View]):
    """A subscription of slot 0 is loose; the others have each a part, whose sum has all periods from `floor` on."""

    def __init__(self, loose: dict[str, View], parts: Sequence[Part], floor: Bounds = (0, 0)) -> None:
        self.loose = loose
        self.parts = parts
        self.floor = floor

    def __getitem__(self, name: str) -> View:
        if name in self.loose:
            return self.loose[name]
        slot = _slot(name, len(self.parts) + 1)
        if not slot:
            raise KeyError(name)
        return self.parts[slot - 1].views[name]

    def __iter__(self) -> Iterator[str]:
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

    @property
    def alikes(self) -> Iterator[Alike]:
        """The sums of the parts' subscriptions."""
        return (one for part in self.parts for one in part.alikes)

    @cached_property
    def periods(self) -> set[Bounds]:
        """Those of the parts' subscriptions, from the floor on."""
        return {bounds for one in self.alikes for bounds in one.periods if bounds >= self.floor}

    @property
    def fits(self) -> bool:
        """Whether the parts are as many as they should be, and their sums have all periods that count."""
        counts = [one.count for one in self.parts]
        told = self.floor == (0, 0) or len(self.periods) >= _COUNTING
        return told and max(counts) <= _GROWN * PART and sum(counts) >= PARTED // 2

    def raised(self) -> Bounds:
        """The floor for a note: the old one, until twice as many periods as count are above it."""
        known = self.periods
        return self.floor if len(known) <= 2 * _COUNTING else nlargest(_COUNTING * 3 // 2, known)[-1]

    def changed(self, views: Mapping[str, View | None]) -> Views:
        """`views` replace those of the same objects; None removes. Only their parts are made anew."""
        loose, of_part = dict(self.loose), dict[int, dict[str, View | None]]()
        for name, view in views.items():
            loose.pop(name, None)
            slot = _slot(name, len(self.parts) + 1)
            plain = view if slot and view and _is_plain(view) else None
            if view is not None and plain is None:
                loose[name] = view
            if slot:
                of_part.setdefault(slot, {})[name] = plain
        parts = [_with(one, of_part.get(slot, {})) for slot, one in enumerate(self.parts, start=1)]
        made = PartedViews(loose, parts, self.floor)
        return made if loose and any(one.count for one in parts) else dict(made)


def parted(views: Views) -> Views:
    """In parts, when the plain subscriptions are many, and there are as many parts as they need."""
    if isinstance(views, PartedViews):
        return views if views.fits else parted(dict(views))
    plain = [name for name, view in views.items() if _is_plain(view)]
    if len(plain) < PARTED:
        return views
    slots = 1 << (len(plain) // PART).bit_length()
    held: list[dict[str, View]] = [{} for _ in range(slots)]
    for name in plain:
        held[_slot(name, slots)][name] = views[name]
    loose = {name: view for name, view in views.items() if not _is_plain(view)} | held[0]
    return PartedViews(loose, list(map(_part, held[1:]))) if loose else views


def _with(part: Part, views: Mapping[str, View | None]) -> Part:
    if not views:
        return part
    kept = {name: view for name, view in {**part.views, **views}.items() if view is not None}
    return part if kept == part.views else _part(kept)


def _part(views: Views) -> Part:
    text = as_text(views)[1:-1]
    return Part(segment(f",{text}".encode() if views else b""), list(alike("", views)), views)


def _is_plain(view: View) -> bool:
    return view["object"] == "subscription" and view.get("status") in _PLAIN and _TELLING.isdisjoint(view)


def _slot(name: str, slots: int) -> int:
    return zlib.crc32(name.encode()) & (slots - 1)
