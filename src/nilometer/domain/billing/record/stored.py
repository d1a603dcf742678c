"""The inputs of a record as they are stored: compressed JSON, in which the parts of large customers stay apart.

    {"customers":{"a":{loose views   ,part ,part   },"b":{loose views   ,part   }},"catalog":{...}}
    └────────── frame ───────────┘└────┘└────┘└────── frame ────────┘└────┘└─────── frame ──────┘

Read as one text it is what a record without parts holds, so a reader that knows nothing of them reads it (the release
before, the audit). Behind it a note says where each part is and the sum of its subscriptions. A frame alone is JSON
without the parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from nilometer.domain.billing.group import Alike, Bounds, Views
from nilometer.domain.billing.record.parts import UNKNOWN, Part, PartedViews, as_text
from nilometer.domain.store import compressed
from nilometer.domain.store.segments import Segment, joined, note_of, segment, split

_RECENT: dict[bytes, Mapping[str, Any]] = {}  # what a content was made of, so that its writer need not read it again
_KEPT = 8
NAMES = 2  # ids of those that are alike: one that is not the base's is enough where they are many


def closed(customers: Mapping[str, Views], document: Mapping[str, Any]) -> bytes:
    """`document` is what stands beside the customers."""
    segments = list(_segments(customers, document))
    sizes = [(len(one.content), one.length, one.checksum) for one in segments]
    parted = {name: views for name, views in sorted(customers.items()) if isinstance(views, PartedViews)}
    floors = {name: views.raised() for name, views in parted.items()}
    told = ",".join(
        f"{as_text(name)}:[{','.join(_noted(part, floors[name]) for part in views.parts)}]"
        for name, views in parted.items()
    )
    note = f'{{"floors":{as_text(floors)},"parts":{{{told}}},"sizes":{as_text(sizes)}}}'
    return _remember(joined(segments, compressed.pack_record(note.encode())), {**document, "customers": customers})


def opened(content: bytes) -> Mapping[str, Any]:
    """The document that `closed` was given, and `customers`."""
    document = _RECENT.get(content)
    if document is None:
        document = _read(content)
        _remember(content, document)
    return document


def _remember(content: bytes, document: Mapping[str, Any]) -> bytes:
    """Of a few: they are large, and forgotten when they are too many."""
    if len(_RECENT) == _KEPT:
        _RECENT.clear()
    _RECENT[content] = document
    return content


def _read(content: bytes) -> Mapping[str, Any]:
    kept = json.loads(compressed.unpack(note_of(content)))
    segments = split(content, kept["sizes"])
    frames, parts = [next(segments)], dict[str, list[Part]]()
    for name, told in sorted(kept["parts"].items()):
        parts[name] = [Part(next(segments), list(map(_alike, alikes))) for alikes in told]
        frames.append(next(segments))
    document = json.loads(b"".join(one.text() for one in frames))
    floors = {name: tuple(floor) for name, floor in kept.get("floors", {}).items()}
    held = {name: PartedViews(document["customers"][name], parts[name], floors.get(name, UNKNOWN)) for name in parts}
    return {**document, "customers": {**document["customers"], **held}}


def _segments(customers: Mapping[str, Views], document: Mapping[str, Any]) -> Iterator[Segment]:
    frame = '{"customers":{'
    for number, (name, views) in enumerate(sorted(customers.items())):
        loose = views.loose if isinstance(views, PartedViews) else views
        frame += f"{',' if number else ''}{as_text(name)}:{as_text(loose)[:-1]}"
        if isinstance(views, PartedViews):
            yield segment(frame.encode())
            yield from (part.segment for part in views.parts)
            frame = ""
        frame += "}"
    yield segment(f"{frame}}},{as_text(document)[1:]}".encode())


def _noted(part: Part, floor: Bounds) -> str:
    """Made once: of an event one part is another."""
    if part.noted is None or part.noted[0] != floor:
        part.noted = floor, as_text([_told(one, floor) for one in part.alikes])
    return part.noted[1]


def _told(one: Alike, floor: Bounds) -> list[Any]:
    periods = sorted(bounds for bounds in one.periods if bounds >= floor)
    return [one.id, one.view, one.names[:NAMES], one.last, one.count, one.amounts, one.seats, periods]


def _alike(told: list[Any]) -> Alike:
    id_, view, names, last, count, amounts, seats, periods = told
    return Alike(
        customer="",
        id=id_,
        view=view,
        names=names,
        last=last,
        count=count,
        amounts=amounts,
        seats=seats,
        periods=set(map(tuple, periods)),
    )
