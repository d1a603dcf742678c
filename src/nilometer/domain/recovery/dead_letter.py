"""A dead letter: its content, its reason and its age; which are selected; what may be shown of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from nilometer.domain.lake import redaction

GIVEN_UP = "aws/lambda/"  # in the bucket: where Lambda keeps what it could not relay of a stream
_LOGGED_AT = "%Y-%m-%d %H:%M:%S,%f%z"  # as Powertools writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """`receives` counts the deliveries that failed: 0 of what could not be delivered. What is not known is None.

    `type` is the event's, or `usage rows` for packed rows of a table. `event_id` is Stripe's or the CloudEvent's.
    """

    queue: str
    id: str
    type: str | None
    event_id: str | None
    reason: str | None
    sent_at: datetime
    first_failed_at: datetime | None
    last_failed_at: datetime | None
    receives: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    body: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """What the log of a function says of one message."""

    reason: str
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which letters are meant; what is empty excludes none. `type` may hold `*`; `reason` is a part of it."""

    ids: frozenset[str] = frozenset()
    type: str | None = None
    reason: str | None = None
    sent_before: datetime | None = None

    def includes(self, letter: DeadLetter) -> bool:
        """All conditions must hold. `reason` ignores case; `sent_before` is exclusive."""
        return (
            (not self.ids or letter.id in self.ids)
            and (self.type is None or fnmatchcase(letter.type or "", self.type))
            and (self.reason is None or self.reason.lower() in (letter.reason or "").lower())
            and (self.sent_before is None or letter.sent_at < self.sent_before)
        )


def dead_letter(
    queue: str,
    message_id: str,
    body: str,
    *,
    system: Mapping[str, str],
    attributes: Mapping[str, str],
    allowed: int | None = None,
) -> DeadLetter:
    """From SQS's system attributes, and EventBridge's own where it could not deliver. `allowed` is how many deliveries
    the queue gives before it moves a letter here; SQS's own count rises with each look at it, and is not shown.

    Sources: SQS API, ReceiveMessage; EventBridge User Guide, "Using dead-letter queues to process undelivered events".
    """
    event_type, event_id = _described(body)
    sent_at = _milliseconds(system["SentTimestamp"])
    undelivered = "ERROR_CODE" in attributes
    # Only what its queue moved here was received before; otherwise we ourselves were the first to receive it.
    moved = "DeadLetterQueueSourceArn" in system
    return DeadLetter(
        queue=queue,
        id=message_id,
        type=event_type,
        event_id=event_id,
        reason=": ".join(attributes[name] for name in ("ERROR_CODE", "ERROR_MESSAGE") if attributes.get(name)) or None,
        sent_at=sent_at,
        first_failed_at=_milliseconds(system["ApproximateFirstReceiveTimestamp"]) if moved else None,
        last_failed_at=sent_at if undelivered else None,
        receives=_failed(int(system["ApproximateReceiveCount"]), allowed) if moved else 0,
        attributes=attributes,
        body=body,
    )


def _failed(receives: int, allowed: int | None) -> int:
    return receives if allowed is None else min(receives, allowed)


def logged_failures(lines: Iterable[str]) -> dict[str, Failures]:
    """By message id, from the lines `{flow}.failed` and `{flow}.waiting` of a function's log, in any order.

    Other lines are passed over.
    """
    found: dict[str, Failures] = {}
    for line in lines:
        said = _json(line)
        if not isinstance(said, dict) or not str(said.get("message", "")).endswith((".failed", ".waiting")):
            continue
        message_id, at = str(said.get("message_id")), datetime.strptime(said["timestamp"], _LOGGED_AT).astimezone(UTC)
        one = Failures(reason=str(said.get("error") or said.get("reason")), first_at=at, last_at=at)
        found[message_id] = _joined(found.get(message_id, one), one)
    return found


def explained(letter: DeadLetter, failures: Failures | None) -> DeadLetter:
    """The letter with what the log says of it."""
    if failures is None:
        return letter
    return replace(letter, reason=failures.reason, first_failed_at=failures.first_at, last_failed_at=failures.last_at)


def shown(body: str) -> Any:
    """What may be shown of it: redacted as in the lake; of what is no JSON object only the length."""
    content = _json(body)
    return redaction.image(content) if isinstance(content, dict) else {"bytes": len(body.encode())}


def _joined(before: Failures, after: Failures) -> Failures:
    """The last reason is the one that counts."""
    first, last = min(before.first_at, after.first_at), max(before.last_at, after.last_at)
    return Failures(reason=(after if after.last_at == last else before).reason, first_at=first, last_at=last)


def _described(body: str) -> tuple[str | None, str | None]:
    """Type and id of an event in the bus's envelope, of a CloudEvent, of packed rows."""
    content = _json(body)
    if not isinstance(content, dict):
        return None, None
    if "columns" in content or isinstance(content.get("rows"), list):
        return f"{content.get('table')} rows", None
    detail = content.get("detail")
    event = detail if isinstance(detail, dict) else content
    found = content.get("detail-type") or content.get("type"), event.get("id")
    return found[0] if isinstance(found[0], str) else None, found[1] if isinstance(found[1], str) else None


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None


def _milliseconds(text: str) -> datetime:
    return datetime.fromtimestamp(int(text) / 1000, UTC)
