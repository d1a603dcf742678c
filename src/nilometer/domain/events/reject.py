"""What is wrong for good, kept with its reason, so that it can be listed, corrected and sent again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, new_item

RejectingFlow = Literal["billing", "usage", "operations", "notices", "datasets"]
"""Flows whose rejects stand in the events table."""
FLOWS: tuple[str, ...] = get_args(RejectingFlow)
KEPT = timedelta(days=40)
INLINE_BYTES = 100_000  # an item holds 400 KB and a transaction 4 MB; larger payloads rest in S3
NAME_BYTES = 256  # of a reason, an id, a source, a workspace id
MESSAGE_BYTES = 2_000
"""Of the sentence that says what is wrong: it may quote the message, and one reject must not outgrow its item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One refused payload, and what is known of its origin."""

    flow: str
    reason: str
    message: str
    payload: str
    event_id: str | None = None
    source: str | None = None
    workspace_id: str | None = None

    @property
    def content(self) -> bytes:
        """The payload as UTF-8. Half of a surrogate pair, which JSON can say and UTF-8 cannot, stays escaped."""
        return self.payload.encode(errors="backslashreplace")


def rejected_type(flow: str) -> str:
    """Of the event that announces a reject of this flow."""
    return f"{flow}.rejected.v1"


def bounded(text: str, limit: int = NAME_BYTES) -> str:
    """`text` as UTF-8 of at most `limit` bytes; what is cut off is an ellipsis."""
    content = text.encode(errors="backslashreplace")
    if len(content) <= limit:
        return content.decode()
    return content[: limit - 3].decode(errors="ignore") + "…"


def item(reject: Reject, *, now: datetime, claim: str | None = None) -> Item:
    """The same payload refused twice on one UTC day is one item. With `claim`, the S3 key stands for the payload."""
    content = reject.content
    key = keys.reject(reject.flow, now, hashlib.sha256(content).hexdigest())
    return new_item(
        key,
        "reject",
        flow=reject.flow,
        reason=bounded(reject.reason),
        message=bounded(reject.message, MESSAGE_BYTES),
        **({"claim": claim} if claim else {"payload": content.decode()}),
        event_id=_name(reject.event_id),
        source=_name(reject.source),
        workspace_id=_name(reject.workspace_id),
        received_at=rfc3339(now),
        expires_at=epoch(now + KEPT),
    )


def reject_file(reject: Reject) -> dict[str, str | None]:
    """The reject of a flow that has no table, as a file in the bucket: why, whose, and the payload as `content`."""
    return {
        "reason": bounded(reject.reason),
        "message": bounded(reject.message, MESSAGE_BYTES),
        "event_id": _name(reject.event_id),
        "source": _name(reject.source),
        "workspace_id": _name(reject.workspace_id),
        "content": reject.content.decode(),
    }


def _name(text: str | None) -> str | None:
    return bounded(text) if text else None
