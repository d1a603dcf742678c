"""Events as their senders write them, and as the bus delivers them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

SOURCE = "/services/sim"
RECORD_CHANGED = "record.changed.v1"


def cloud(
    id_: str,
    *,
    workspace: str,
    meter: str,
    quantity: str,
    time: datetime,
    dimensions: Mapping[str, str] | None = None,
    reservation_id: str | None = None,
) -> dict[str, Any]:
    """A usage event; of the meters whose value is a level, a snapshot."""
    data: dict[str, Any] = {"meter": meter, "quantity": quantity, "unit": "u"}
    data |= {"dimensions": dict(dimensions)} if dimensions else {}
    data |= {"reservation_id": reservation_id} if reservation_id else {}
    kind = "snapshot" if meter in {"top", "level"} else "recorded"
    return said(f"usage.{kind}.v1", data, id_=id_, subject=workspace, time=time.isoformat())


def void(of: str, id_: str, *, workspace: str = "a", time: str = "2026-11-23T12:00:00+00:00") -> dict[str, Any]:
    return said("usage.voided.v1", {"id": of, "reason": "test run"}, id_=id_, subject=workspace, time=time)


def changed(workspace_id: str, kind: str = "workspace", pk: str = "") -> dict[str, Any]:
    """The announcement of a record that is new."""
    data = {"kind": kind, "action": "INSERT", "workspace_id": workspace_id, "pk": pk}
    return said("record.changed.v1", data, id_=f"new {workspace_id}", subject=None)


def said(
    type_: str, data: Mapping[str, Any], *, id_: str, subject: str | None, time: str = "2026-11-23T11:00:00+00:00"
) -> dict[str, Any]:
    """Any CloudEvent."""
    return {
        "specversion": "1.0",
        "id": id_,
        "source": SOURCE,
        "type": type_,
        **({"subject": subject} if subject else {}),
        "time": time,
        "data": dict(data),
    }


def envelope(detail: Mapping[str, Any], *, source: str = "services", time: str = "2026-11-23T12:00:00Z") -> str:
    """An SQS body as the bus makes it."""
    content = msgspec.json.encode(detail).decode()
    return enveloped(content, str(detail.get("type")), id_=str(detail.get("id")), source=source, time=time)


def enveloped(detail: str, type_: str, *, id_: str, source: str, time: str = "2026-11-23T12:00:00Z") -> str:
    """The same of a detail that is JSON already."""
    about = {"version": "0", "id": f"bus {id_}", "source": source, "time": time, "detail-type": type_}
    return msgspec.json.encode({**about, "detail": msgspec.Raw(detail.encode())}).decode()
