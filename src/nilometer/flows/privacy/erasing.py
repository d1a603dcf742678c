"""Finding everything that names a person, in both tables, the bucket and the lake; each find knows how it is erased.

What if the process dies in the middle? The same search finds what is left: every step stands alone. What if an event
that names the person is delivered once more? Its fact is known, so it is dropped; one that was never accepted may bring
the name back, so the report says how long queues and archives keep what they have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Set
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from nilometer.domain.lake import redaction
from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.dataset import FOLDER as DATASETS
from nilometer.domain.recovery import refused
from nilometer.domain.recovery.dead_letter import GIVEN_UP
from nilometer.domain.recovery.erasure import Fate, Person
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Rejected
from nilometer.flows.lake.declaring import all_datasets
from nilometer.flows.privacy.found import Found, Places
from nilometer.flows.privacy.in_tables import SETTLED, in_events, in_records
from nilometer.lake.tables.tables import table_uri
from nilometer.lake.write import parquet_rows
from nilometer.lake.write.erase import NamingRows

FILES = ("claims/", "rejects/", "landing/", GIVEN_UP)
"""What the bucket holds as it arrived. Attachments are found by their records; the rest of it is redacted."""
_UNTIL_SETTLED = ("rejects/lake/", "rejects/changes/")  # the only copy of a row that the lake lacks


def search(places: Places, person: Person) -> Iterator[Found]:
    """Place by place. Reads both tables, what the bucket holds as it arrived, and the text columns of the lake, whole.

    `Unavailable` when a place does not answer: what it holds is not known then, so search again.
    """
    claims: set[str] = set()
    yield from in_events(places, person, claims)
    yield from in_records(places, person)
    yield from _in_bucket(places, person, claims)
    yield from _in_lake(places, person)


def _in_bucket(places: Places, person: Person, claims: Set[str]) -> Iterator[Found]:
    """Objects that no item names, which would be in `claims`. What an item names is found with it."""
    for prefix in FILES:
        places.progress(f"bucket: {prefix}")
        written = dict(places.objects.listed(prefix))
        for key, content in places.objects.below(prefix):
            if key not in claims and any(map(person.is_named_in, _values(content))):
                yield _object(places, key, written.get(key, places.now))


def _values(content: bytes) -> Iterator[Any]:
    """Of a file as it stands, and of its rows where it is Parquet, which is compressed."""
    yield content
    with suppress(Rejected):
        yield from parquet_rows.values(content)


def _object(places: Places, key: str, written: datetime) -> Found:
    found = partial(Found, place="bucket", kind=key.partition("/")[0], name=redaction.id_text(key))
    if written > places.now - SETTLED:
        return found(fate=Fate.LATER, why="its message may still be in a queue: run this again after a day")
    if key.startswith(GIVEN_UP):
        return found(fate=Fate.LATER, why="not relayed yet: nilometer dlq redrive, then run this again")
    if key.startswith(_UNTIL_SETTLED) and not _is_settled(places, key, written):
        return found(fate=Fate.LATER, why="refused: nilometer rejects resend, or dismiss, then run this again")
    return found(fate=Fate.ERASE, why="deleted", erase=partial(places.objects.delete, key))


def _is_settled(places: Places, key: str, written: datetime) -> bool:
    """Since it was refused the last time."""
    _, flow, digest = key.split("/")
    mark = places.store.get(Table.EVENTS, keys.reject_mark(flow, digest), consistent=True)
    return mark is not None and refused.is_settled(mark, refused.kept_at(written))


def _in_lake(places: Places, person: Person) -> Iterator[Found]:
    """Datasets are not redacted: each row that names the person. In our own tables ids stay, and an address is looked
    for, which only the identity of a usage event may hold."""
    for name in ALL_TABLES:
        naming = _naming(places, name, ids=(), addresses=person.addresses, append_only=True)
        if rows := naming.count():
            why = "the identity that a sender chose: its rows must stay countable"
            yield Found(place="lake", kind=name, name=f"{rows:,} rows", fate=Fate.KEEP, why=why)
    for one in all_datasets(places.store):
        name, append_only = f"{DATASETS}/{one.name}", one.table.append_only
        found = _naming(places, name, ids=person.ids, addresses=person.addresses, append_only=append_only)
        if rows := found.count():
            yield Found(
                place="lake", kind=name, name=f"{rows:,} rows", fate=Fate.ERASE, why="deleted", erase=found.delete
            )


def _naming(
    places: Places, name: str, *, ids: Collection[str], addresses: Collection[str], append_only: bool
) -> NamingRows:
    places.progress(f"lake: {name}")
    return NamingRows(
        uri=table_uri(places.lake_uri, name),
        storage_options=places.storage_options,
        ids=ids,
        addresses=addresses,
        append_only=append_only,
    )
