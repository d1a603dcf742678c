"""`dataset.batch_ready.v1`: a batch for a dataset, as an object below `landing/` or in the event itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from nilometer.domain.events.cloudevents import check_context
from nilometer.domain.lake.dataset import BATCH_READY
from nilometer.errors import Rejected
from nilometer.flows.inbox.envelope import CloudEventWire, decode, read
from nilometer.flows.lake.batch_event import BatchReady, LandedObject
from nilometer.lake.write.batches import DatasetBatch
from nilometer.lake.write.dataset_rows import Format

SEE = "see events/schemas"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivedBatch:
    """One batch and where its rows are: in `object`, or here, one a line."""

    batch: DatasetBatch
    dataset: str
    object: LandedObject | None
    rows: bytes

    @property
    def format(self) -> Format:
        """How its object or its rows are written."""
        return Format(self.object.format) if self.object else Format.NDJSON


def arrived(body: str) -> ArrivedBatch:
    """`Rejected` when it is no such event."""
    envelope = decode(body)
    wire = read(envelope.detail, CloudEventWire, SEE)
    data = read(wire.data, BatchReady, SEE)
    check_context(specversion=wire.specversion, event_id=wire.id, source=wire.source, subject=wire.subject)
    if wire.type != BATCH_READY or (data.object is msgspec.UNSET) is (data.rows is msgspec.UNSET):
        raise Rejected("invalid_schema", f"a {BATCH_READY} has either object or rows; see events/schemas")
    rows = b"\n".join(msgspec.json.format(row, indent=-1) for row in data.rows or ())
    return ArrivedBatch(
        batch=DatasetBatch(source=wire.source, id=wire.id, fingerprint=_fingerprint(data, rows)),
        dataset=data.dataset,
        object=data.object or None,
        rows=rows,
    )


def _fingerprint(data: BatchReady, rows: bytes) -> int:
    """Of the content and not of its place: the same object under another key is the same batch."""
    content = data.object.etag.encode() if data.object else rows
    digest = hashlib.sha256(data.dataset.encode() + b"\n" + content).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # Delta stores a signed long
