"""Leases over HTTP: a block of a hard limit in the process, and one request when it does not last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from nilometer.client.buffer import amount, new_id
from nilometer.client.request import ClientRequest, at
from nilometer.client.sending import Sender
from nilometer.domain.store.times import rfc3339
from nilometer.flows.api.shapes import BlockAnswer, ReleaseAnswer, SettleAnswer
from nilometer.flows.limits.blocks import MOST, BlockLease

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class ClientLease(BlockLease):
    """Of one meter of one workspace. Thread-safe; use it as a context manager, or `close` it.

    `check()` takes one unit, `check(Decimal(7))` seven: in microseconds while the block lasts. What was given out is
    reported by one usage event a block. A holder that dies keeps its block taken, so the limit is never oversold.
    """

    send: Sender
    workspace_id: str
    meter: str
    awake: Callable[[], object] = lambda: None
    """Starts what calls `tick_quietly`, if it does not run: in a child it does not."""

    def acquire(self, block_id: str, quantity: Decimal, rate: Decimal) -> Decimal | None:
        """One request."""
        self.awake()
        per_second = min(rate, MOST).quantize(Decimal("0.001"))
        body = {"id": block_id, "quantity": amount(quantity), "rate": amount(per_second)}
        return self.send(limit_request(self.workspace_id, self.meter, "lease", body, BlockAnswer)).size

    def give_back(self, block_id: str) -> None:
        """One request. A block that is unknown or has ended is given back."""
        self.send(limit_request(self.workspace_id, self.meter, "release", {"id": block_id}, ReleaseAnswer))


def limit_request(workspace_id: str, meter: str, verb: str, body: Any, answer: type[T]) -> ClientRequest[T]:
    """A request about one limit; safe, because what holds something has its id."""
    path = at(f"/v1/workspaces/{{}}/limits/{{}}/{verb}", workspace_id, meter)
    return ClientRequest(method="POST", path=path, body=body, answer=answer)


def new_lease(send: Sender, workspace_id: str, meter: str, **options: Any) -> ClientLease:
    """Of a client whose requests go through `send`."""
    return ClientLease(
        send=send,
        workspace_id=workspace_id,
        meter=meter,
        report=_reporting(send, workspace_id, meter),
        new_id=new_id,
        **options,
    )


def _reporting(send: Sender, workspace_id: str, meter: str) -> Callable[[str, Decimal, datetime], Any]:
    def report(block_id: str, quantity: Decimal, at_time: datetime) -> Any:
        body = {"id": block_id, "quantity": amount(quantity), "time": rfc3339(at_time)}
        return send(limit_request(workspace_id, meter, "settle", body, SettleAnswer))

    return report
