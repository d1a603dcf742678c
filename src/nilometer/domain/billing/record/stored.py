"""The inputs of a record with large customers as they are stored: compressed JSON, a segment for each of those.

    {"customers":{"a":{views},"b":{views}},"catalog":{...}}                          without any
    {"catalog":{...},"small":{"a":{views}},"large":{"c":{large}}}                    with one
    {"floor":[...],"kinds":{"digest":[id,view]},"loose":{views},"parts":[[...]]}     {large}

Of subscriptions in parts that are alike, which are a kind, the record has one view, that of the newest. An event
compresses the segment of its own customer. The names are others than those of a record without parts: a release that
knows nothing of them does not read it as one without these subscriptions, it fails, and the event waits.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from nilometer.domain.billing.group import Alike, Bounds, View, Views, kind_of
from nilometer.domain.billing.record.parts import Part, PartedViews, PartPlace, as_text, part_key
from nilometer.domain.store import compressed
from nilometer.domain.store.segments import Segment, joined, segment

_RECENT: dict[bytes, Mapping[str, Any]] = {}  # what a content was made of, so that its writer need not read it again
_KEPT = 8
_COMMA, _END = segment(b","), segment(b"}}")


def closed(customers: Mapping[str, Views], document: Mapping[str, Any]) -> bytes:
    """`document` is what stands beside the customers."""
    large = {name: views for name, views in customers.items() if type(views) is PartedViews}
    small = {name: views for name, views in customers.items() if name not in large}
    segments = [segment(f'{as_text({**document, "small": small})[:-1]},"large":{{'.encode())]
    for name, views in sorted(large.items()):
        segments += [_large(name, views), _COMMA]
    return _remember(joined([*segments[:-1], _END]), {**document, "customers": customers})


def opened(content: bytes) -> Mapping[str, Any]:
    """The document that `closed` was given, and `customers`."""
    document = _RECENT.get(content)
    if document is None:
        document = _read(json.loads(compressed.unpack(content)))
        _remember(content, document)
    return document


def _remember(content: bytes, document: Mapping[str, Any]) -> bytes:
    """Of a few: they are large, and forgotten when they are too many."""
    if len(_RECENT) == _KEPT:
        _RECENT.clear()
    _RECENT[content] = document
    return content


def _read(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    document = dict(stored)
    large = {name: _parted(name, told) for name, told in document.pop("large").items()}
    return {**document, "customers": {**document.pop("small"), **large}}


def _parted(name: str, told: Mapping[str, Any]) -> PartedViews:
    kinds = {digest: (id_, kind_of(id_, view), view) for digest, (id_, view) in told["kinds"].items()}
    parts = [
        Part(PartPlace(part_key(name, slot), version, digest), [_alike(one, *kinds[one[0]]) for one in sums])
        for slot, (version, digest, sums) in enumerate(told["parts"])
    ]
    start, end = told["floor"]
    return PartedViews(told["loose"], parts, (start, end))


def _large(name: str, views: PartedViews) -> Segment:
    """Made once: of an event one customer is another."""
    if views.stored is None:
        floor = views.raised()
        kinds = as_text({_digest(one.kind): [one.id, one.view] for one in views.alikes})
        parts = ",".join([_noted(one, floor) for one in views.parts])
        told = f'"floor":{as_text(floor)},"kinds":{kinds},"loose":{as_text(views.loose)},"parts":[{parts}]'
        views.stored = segment(f"{as_text(name)}:{{{told}}}".encode())
    return views.stored


def _noted(part: Part, floor: Bounds) -> str:
    """Made once: of an event one part is another."""
    if part.noted is None or part.noted[0] != floor:
        _, version, digest = part.place
        part.noted = floor, as_text([version, digest, [_told(one, floor) for one in part.alikes]])
    return part.noted[1]


def _told(one: Alike, floor: Bounds) -> list[Any]:
    return [
        _digest(one.kind),
        one.id,
        one.created,
        one.names,
        one.last,
        one.count,
        one.amounts,
        one.seats,
        _steps(one.periods, floor),
    ]


def _alike(told: list[Any], newest: str, kind: Any, view: View) -> Alike:
    """`newest` of its kind is another one's, or its own."""
    _, id_, created, names, last, count, amounts, seats, periods = told
    return Alike(
        customer="",
        kind=kind,
        id=id_,
        view=view,
        created=created,
        own=id_ == newest,
        names=names,
        last=last,
        count=count,
        amounts=amounts,
        seats=seats,
        periods=list(_bounds(periods)),
    )


def _digest(kind: Any) -> str:
    return hashlib.blake2b(repr(kind).encode(), digest_size=6).hexdigest()


def _steps(periods: Sequence[Bounds], floor: Bounds) -> list[int]:
    """The periods from the floor on, in order: how much later each begins than the one before, and how long it is."""
    before, found = 0, []
    for start, end in periods[bisect_left(periods, floor) :]:
        found += [start - before, end - start]
        before = start
    return found


def _bounds(steps: Sequence[int]) -> Iterator[Bounds]:
    return ((start, start + length) for start, length in zip(accumulate(steps[::2]), steps[1::2], strict=True))
