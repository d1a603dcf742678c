"""One message on its way to an outcome, and what of it was refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.events.reject import Reject, bounded
from nilometer.errors import NotKnownYet, Refused, Rejected, Unavailable
from nilometer.flows.inbox.identity import Identity, identity_of

UNREADABLE = "unreadable"
"""The reason of what no rule foresaw: the message alone makes the flow fail, each time that it came."""

Refusal = tuple[Rejected, str, Identity]
"""Why something was refused, its payload, and whose it is."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Parcel(Generic[T]):
    """`content` is what `open` made of the message. A consumer gives it an outcome only when that is stored.

    `fields` are safe to log: ids, types, reasons, counts.
    """

    message: Message
    opened: T | None = None
    outcome: Outcome | None = None
    again: bool = False
    fields: dict[str, str | int] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    """The message, or events in it."""

    @property
    def content(self) -> T:
        """What `open` made of the message. Asked for only once that has happened."""
        assert self.opened is not None  # noqa: S101  # what could not be opened is settled and in no group
        return self.opened

    def settle(self, outcome: Outcome, **fields: str | int) -> None:
        """Its outcome is stored, or it must come again."""
        self.outcome = outcome
        self.fields |= fields

    def fail(self, error: BaseException) -> None:
        """It is delivered again. Our own text is safe to log; of another error only its name is."""
        self.settle(Outcome.FAILED, error=str(error) if isinstance(error, Unavailable) else type(error).__name__)

    def wait(self, reason: str, error: str) -> None:
        """It stays in its queue until what it needs is known, or its time is over; `error` says what it waits for."""
        self.settle(Outcome.WAITING, reason=reason, error=error)
        self.again = True

    def refuse(self, error: Exception) -> None:
        """Wrong for good, with all that is in it: kept before the batch is answered."""
        identity, refused = identity_of(self.message.body), as_rejected(error)
        self.refused.append((refused, self.message.body, identity))
        self.settle(Outcome.REJECTED, **{**identity.known, **self.fields, "reason": bounded(refused.reason)})

    def rejects(self, flow: str) -> list[Reject]:
        """What must be kept before the message may go."""
        return [as_reject(flow, *one) for one in self.refused]

    def result(self) -> Result:
        """Of one who was never given an outcome: FAILED."""
        if self.outcome is None:
            self.settle(Outcome.FAILED, error="not settled in time")
        assert self.outcome is not None  # noqa: S101  # mypy does not follow `settle`
        return Result(message_id=self.message.id, outcome=self.outcome, fields=self.fields, again=self.again)


def as_reject(flow: str, error: Rejected, payload: str, identity: Identity) -> Reject:
    """What is kept of it."""
    return Reject(
        flow=flow,
        reason=error.reason,
        message=str(error),
        payload=payload,
        event_id=identity.event_id,
        source=identity.source,
        workspace_id=identity.workspace_id,
    )


def as_rejected(error: Exception) -> Rejected:
    """Why what alone is the reason of `error` is refused; no text of a stranger's error."""
    if isinstance(error, Rejected):
        return error
    if isinstance(error, NotKnownYet):
        return Rejected(error.reason, str(error))
    if isinstance(error, Refused):
        return Rejected("refused", str(error))
    name = type(error).__name__
    return Rejected(UNREADABLE, f"it alone makes the flow fail ({name}); correct it, or report the fault")
