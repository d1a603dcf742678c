"""Limits: asked, reserved and leased."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Self

from nilometer.client.buffer import amount, new_id
from nilometer.client.lease import ClientLease, limit_request, new_lease
from nilometer.client.problem import LimitReached
from nilometer.client.request import ClientRequest, at
from nilometer.client.sending import Sender
from nilometer.client.usage import Repeating, UsageService
from nilometer.domain.store.times import rfc3339
from nilometer.flows.api.shapes import CheckAnswer, LimitsAnswer, ReleaseAnswer, ReserveAnswer, SettleAnswer

TICK = 10.0  # seconds between two looks at leases that nobody asks
Quantity = str | int | Decimal


class CheckedLimit:
    """The answer to a check. As a context manager: `LimitReached` when so much may not be used, and a block that ends
    without an error records that it was."""

    def __init__(
        self, usage: UsageService, workspace_id: str, meter: str, quantity: Quantity, answer: CheckAnswer
    ) -> None:
        self._usage, self._asked = usage, (workspace_id, meter, quantity)
        self.answer = answer

    def __bool__(self) -> bool:
        return self.answer.allowed

    @property
    def allowed(self) -> bool:
        """Whether so much more may be used."""
        return self.answer.allowed

    @property
    def remaining(self) -> Decimal | None:
        """What is left by what was counted; `None` where nothing limits it."""
        return self.answer.remaining

    def __enter__(self) -> Self:
        if not self.allowed:
            raise LimitReached(*self._asked[:2])
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._usage.record(*self._asked)


@dataclass(slots=True, kw_only=True)
class ReservedQuantity:
    """What a reservation says in its requests, with an id of its own: the same id is the same reservation."""

    workspace_id: str
    meter: str
    quantity: Quantity
    seconds: int
    id: str
    _settled_at: datetime | None = field(default=None, init=False)

    def reserve(self) -> ClientRequest[ReserveAnswer]:
        """Holds it for `seconds` at most."""
        body = {"id": self.id, "quantity": amount(self.quantity), "ttl_seconds": self.seconds}
        return limit_request(self.workspace_id, self.meter, "reserve", body, ReserveAnswer)

    def settle(self, used: Quantity | None) -> ClientRequest[SettleAnswer]:
        """Reports how much of it was used: all when `used` is `None`. Each has the time of the first: one counts."""
        at_time = self._settled_at = self._settled_at or datetime.now(UTC)
        body = {"id": self.id, "quantity": amount(self.quantity if used is None else used), "time": rfc3339(at_time)}
        return limit_request(self.workspace_id, self.meter, "settle", body, SettleAnswer)

    def release(self) -> ClientRequest[ReleaseAnswer]:
        """Gives all of it back."""
        return limit_request(self.workspace_id, self.meter, "release", {"id": self.id}, ReleaseAnswer)

    def check_granted(self, answer: ReserveAnswer) -> None:
        """`LimitReached` when too little was left."""
        if not answer.granted:
            raise LimitReached(self.workspace_id, self.meter)


class HeldReservation:
    """A part of a hard limit, held from `with` on: `LimitReached` when too little is left.

    At the end of the block `used` of it is reported, all when that is not set; after an error it is given back.
    """

    def __init__(self, send: Sender, reserved: ReservedQuantity) -> None:
        self._send, self._reserved = send, reserved
        self.used: Quantity | None = None

    @property
    def id(self) -> str:
        """The same id is the same reservation."""
        return self._reserved.id

    def __enter__(self) -> Self:
        self._reserved.check_granted(self.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if kind is None:
            self.settle(self.used)
        else:
            self.release()

    def open(self) -> ReserveAnswer:
        """Whether it is held; without a context manager settle or release it."""
        return self._send(self._reserved.reserve())

    def settle(self, quantity: Quantity | None = None) -> None:
        """Reports how much of it was used, all when nothing is said; what is left of it comes back."""
        self._send(self._reserved.settle(quantity))

    def release(self) -> bool:
        """Gives all of it back; False when it had ended."""
        return self._send(self._reserved.release()).released


class LimitsService:
    """Limits of workspaces. Thread-safe."""

    def __init__(self, send: Sender, usage: UsageService) -> None:
        self._send, self._usage = send, usage
        self._leases: list[ClientLease] = []
        self._repeating = Repeating(self._tick, TICK)

    def check(self, workspace_id: str, meter: str, quantity: Quantity = 1) -> CheckedLimit:
        """Whether so much more may be used, by what was counted; it holds nothing."""
        found = self._send(check_of(workspace_id, meter, quantity))
        return CheckedLimit(self._usage, workspace_id, meter, quantity, found)

    def reserve(
        self,
        workspace_id: str,
        meter: str,
        quantity: Quantity,
        *,
        id: str | None = None,  # noqa: A002  # as the reservation's
        seconds: int = 300,
    ) -> HeldReservation:
        """Held once it is entered or opened, for `seconds` at most."""
        return HeldReservation(self._send, reserved(workspace_id, meter, quantity, id, seconds))

    def lease(self, workspace_id: str, meter: str) -> ClientLease:
        """Answers in the process."""
        made = new_lease(self._send, workspace_id, meter, awake=self._repeating.start)
        self._leases.append(made)
        self._repeating.start()
        return made

    def list(self, workspace_id: str) -> LimitsAnswer:
        """Limits in effect, and the workspace's own."""
        return self._send(limits_of(workspace_id))

    def close(self) -> None:
        """Closes every lease, also after one that failed; then raises an error of those."""
        self._repeating.stop()
        with ExitStack() as ends:
            for one in self._leases:
                ends.callback(one.close)

    def _tick(self) -> None:
        for one in self._leases:
            one.tick_quietly()


def check_of(workspace_id: str, meter: str, quantity: Quantity) -> ClientRequest[CheckAnswer]:
    """Whether so much more may be used."""
    return limit_request(workspace_id, meter, "check", {"quantity": amount(quantity)}, CheckAnswer)


def reserved(workspace_id: str, meter: str, quantity: Quantity, id_: str | None, seconds: int) -> ReservedQuantity:
    """With the id that was given, else a new one."""
    return ReservedQuantity(
        workspace_id=workspace_id, meter=meter, quantity=quantity, seconds=seconds, id=id_ or new_id()
    )


def limits_of(workspace_id: str) -> ClientRequest[LimitsAnswer]:
    """Limits in effect, and the workspace's own."""
    return ClientRequest(method="GET", path=at("/v1/workspaces/{}/limits", workspace_id), answer=LimitsAnswer)
