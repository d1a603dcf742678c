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

from nilometer.domain.billing.group import Alike, Views
from nilometer.domain.billing.record.parts import Part, PartedViews, as_text
from nilometer.domain.store import compressed
from nilometer.domain.store.segments import Segment, joined, note_of, segment, split

NAMES = 2  # ids of those that are alike: one that is not the base's is enough where they are many


def closed(customers: Mapping[str, Views], document: Mapping[str, Any]) -> bytes:
    """`document` is what stands beside the customers."""
    segments = list(_segments(customers, document))
    sizes = [(len(one.content), one.length, one.checksum) for one in segments]
    parted = {name: views.parts for name, views in sorted(customers.items()) if isinstance(views, PartedViews)}
    told = {name: [list(map(_told, part.alikes)) for part in parts] for name, parts in parted.items()}
    return joined(segments, compressed.pack_record(as_text({"sizes": sizes, "parts": told}).encode()))


def opened(content: bytes) -> Mapping[str, Any]:
    """The document that `closed` was given, and `customers`."""
    kept = json.loads(compressed.unpack(note_of(content)))
    segments = split(content, kept["sizes"])
    frames, parts = [next(segments)], dict[str, list[Part]]()
    for name, told in sorted(kept["parts"].items()):
        parts[name] = [Part(next(segments), list(map(_alike, alikes))) for alikes in told]
        frames.append(next(segments))
    document = json.loads(b"".join(one.text() for one in frames))
    held = {name: PartedViews(document["customers"][name], parts[name]) for name in parts}
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


def _told(one: Alike) -> list[Any]:
    return [one.id, one.view, one.names[:NAMES], one.last, one.count, one.amounts, one.seats, sorted(one.periods)]


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
