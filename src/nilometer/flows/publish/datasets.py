"""What an internal service imports to feed a dataset: put the object, announce it.

    from nilometer import datasets

    datasets.send_file(bus, landing, content, dataset="crm_contacts", format_="parquet", batch_id="2026-11-23T04",
                       source="/services/crm", now=now)

An id is the batch's own, chosen before the first send: after `Unavailable` the same batch may be sent again, and
lands once. What if the process dies between the object and the event? Nothing has landed; send it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from nilometer.aws.eventbridge import Bus, BusEntry
from nilometer.aws.landing import PREFIX, Landing
from nilometer.domain.events.cloudevents import SPECVERSION, check_context
from nilometer.domain.lake.dataset import BATCH_READY
from nilometer.domain.store.times import rfc3339
from nilometer.domain.usage.meter import check_name
from nilometer.errors import Rejected
from nilometer.flows.publish.usage import Event


def send_file(
    bus: Bus,
    landing: Landing,
    content: bytes,
    *,
    dataset: str,
    format_: str,
    batch_id: str,
    source: str,
    now: datetime,
) -> Event:
    """Puts NDJSON or Parquet below `landing/` under the hash of its content and announces it; the event."""
    check_name(dataset)
    sha256 = hashlib.sha256(content).hexdigest()
    key = f"{PREFIX}{dataset}/{sha256}.{format_}"
    etag = landing.put(key, content)
    reference = {"key": key, "etag": etag, "format": format_, "sha256": sha256, "size": len(content)}
    return _announce(bus, {"dataset": dataset, "object": reference}, batch_id=batch_id, source=source, now=now)


def send_rows(
    bus: Bus,
    rows: Sequence[Mapping[str, Any] | msgspec.Raw],
    *,
    dataset: str,
    batch_id: str,
    source: str,
    now: datetime,
    sender: str | None = None,
) -> Event:
    """Few rows, in the event itself. `Rejected("too_large")` when the bus cannot carry them: send a file.
    `sender` is the source of the bus's entry, else it is `source`."""
    check_name(dataset)
    data = {"dataset": dataset, "rows": rows}
    return _announce(bus, data, batch_id=batch_id, source=source, now=now, sender=sender)


def lines(content: bytes) -> list[msgspec.Raw]:
    """The rows of NDJSON, unread, so that no digit changes. `Rejected("invalid_json")`."""
    try:
        return msgspec.json.Decoder(msgspec.Raw).decode_lines(content)
    except msgspec.DecodeError as error:
        raise Rejected("invalid_json", f"{error}; write one JSON object per line") from error


def _announce(
    bus: Bus, data: Mapping[str, Any], *, batch_id: str, source: str, now: datetime, sender: str | None = None
) -> Event:
    check_context(specversion=SPECVERSION, event_id=batch_id, source=source, subject=None)
    event = {
        "specversion": SPECVERSION,
        "id": batch_id,
        "source": source,
        "type": BATCH_READY,
        "time": rfc3339(now),
        "data": data,
    }
    detail = msgspec.json.encode(event).decode()
    bus.publish([BusEntry(source=sender or source, detail_type=BATCH_READY, detail=detail)])
    return event
