"""What is wrong for good, kept with its reason, so that it can be listed, corrected and sent again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item

KEPT = timedelta(days=40)
INLINE_BYTES = 100_000  # an item holds 400 KB and a transaction 4 MB; larger payloads rest in S3


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
    def size(self) -> int:
        """Bytes of the payload."""
        return len(self.payload.encode())


def item(reject: Reject, *, now: datetime, claim: str | None = None) -> Item:
    """The same payload refused twice on one UTC day is one item. With `claim`, the S3 key stands for the payload."""
    digest = hashlib.sha256(reject.payload.encode()).hexdigest()
    key = keys.reject(reject.flow, now, digest)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "kind": "reject",
        "version": 1,
        "flow": reject.flow,
        "reason": reject.reason,
        "message": reject.message,
        **({"claim": claim} if claim else {"payload": reject.payload}),
        "event_id": reject.event_id,
        "source": reject.source,
        "workspace_id": reject.workspace_id,
        "received_at": rfc3339(now),
        "expires_at": epoch(now + KEPT),
    }
