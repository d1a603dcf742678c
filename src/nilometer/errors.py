"""The error tree. The class says what happens next, the message what was wrong and what to try.

    NilometerError
    ├── Misconfigured   an operator must act; nothing was read or written
    │   └── NotPermitted    a key is valid, and may not do this one thing
    ├── Rejected        the input is wrong for good: keep payload and reason, do not retry
    ├── Refused         a rule forbids it (the last Admin, a closed period, a used token)
    └── Unavailable     not now: retry the same input later
        ├── NotKnownYet what it builds on is not known; it may arrive later
        └── Cancelled   a transaction was cancelled; nothing of it was written

Duplicate and stale are outcomes, not errors (`domain.outcome`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any


class NilometerError(Exception):
    """Base of every error that this package raises on purpose."""


class Misconfigured(NilometerError):
    """An operator must act; nothing was read or written."""


class NotPermitted(Misconfigured):
    """A key is valid, and may not do this one thing: what else it may is not concerned."""


class Rejected(NilometerError):
    """The input is wrong for good. `reason` is a stable snake_case code."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Refused(NilometerError):
    """A rule forbids it; the same request may pass once the state has changed."""


class Unavailable(NilometerError):
    """Not now: the same input may be retried later. Whether a write landed may be unknown."""


class NotKnownYet(Unavailable):
    """What it builds on is not known and may arrive later: wait for a bounded time, then reject it with `reason`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Cancelled(Unavailable):
    """A transaction was cancelled as a whole; nothing of it was written.

    `reasons` has one DynamoDB cancellation code per write, in order: `None`,
    `ConditionalCheckFailed`, `TransactionConflict`, `ThrottlingError`, ...
    `found` has the item of each write whose condition was false, as it was then, where `commit` was asked for it.
    """

    def __init__(self, reasons: Sequence[str], found: Mapping[int, Mapping[str, Any]] = MappingProxyType({})) -> None:
        super().__init__(f"transaction cancelled: {', '.join(sorted(set(reasons)))}")
        self.reasons = tuple(reasons)
        self.found = found

    @property
    def condition_failed(self) -> tuple[int, ...]:
        """Positions of the writes whose own condition was false."""
        return tuple(i for i, r in enumerate(self.reasons) if r == "ConditionalCheckFailed")
