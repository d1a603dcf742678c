"""What an answer that is no success becomes: one error tree, that of `nilometer.errors`, with status and reason.

Rejected        400 404 413 422   wrong for good
Refused         403 409           a rule or the key's scopes forbid it; a limit is reached
Misconfigured   401               the key is not valid
Unavailable     429 5xx, network  not now: the same request again has one effect; of usage events also 404
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nilometer.errors import Misconfigured, NilometerError, Refused, Rejected, Unavailable


class ProblemRejected(Rejected):
    """The request is wrong for good; `status` is HTTP's."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.status = status


class ProblemRefused(Refused):
    """A rule or the key's scopes forbid it."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.reason = status, reason


class KeyNotValid(Misconfigured):
    """The key or session is unknown, expired or revoked."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.reason = status, reason


class ProblemUnavailable(Unavailable):
    """Not now. `status` is 0 when there was no answer at all."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.reason = status, reason


class LimitReached(Refused):
    """So much more may not be used now."""

    def __init__(self, workspace_id: str, meter: str) -> None:
        super().__init__(f"the limit of {meter} is reached in {workspace_id}")
        self.workspace_id, self.meter = workspace_id, meter


class RejectedUsage(NamedTuple):
    """A usage event that can never be counted, and why."""

    id: str
    reason: str
    message: str


class EventsRejected(Rejected):
    """Usage events that can never be counted: `events` are (id, reason, message) of the first thousand, `total` is how
    many there are. All others were accepted."""

    def __init__(self, events: Sequence[RejectedUsage], total: int) -> None:
        first = "; ".join(f"{event_id}: {reason}" for event_id, reason, _ in events[:3])
        super().__init__("events_rejected", f"{total} usage events are rejected ({first})")
        self.events, self.total = tuple(events), total


def error_of(status: int, problem: Any) -> NilometerError:
    """From the members of a problem (RFC 9457). Of an answer that is none, the status is all that is said."""
    told = problem if isinstance(problem, dict) else {}
    reason = str(told.get("reason") or "unknown")
    detail = str(told.get("detail") or f"the API answered {status}")
    if status == 401:
        return KeyNotValid(status, reason, detail)
    if status in {403, 409}:
        return ProblemRefused(status, reason, detail)
    if status == 429 or status >= 500:
        return ProblemUnavailable(status, reason, detail)
    return ProblemRejected(status, reason, detail)
