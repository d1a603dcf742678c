"""Leases on the tables: a process holds a block of a hard limit and answers by itself, without a request.

What if the answer to `take` is lost? The block's id is its holder's own: taken again, the same block is the answer. All
else that may happen to a holder is in `flows.limits.blocks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from nilometer.domain.limits.lease import block_size
from nilometer.domain.limits.reservation import ReservationStatus, check_reservable
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused
from nilometer.flows.limits.blocks import BlockLease
from nilometer.flows.limits.reserving import left, release, reserve
from nilometer.flows.usage.known import Known

_ANY = timedelta(hours=1)  # a block has no end


@dataclass(slots=True, kw_only=True)
class Lease(BlockLease):
    """Of one meter of one workspace, in one process. Thread-safe; `close` it, or use it as a context manager.

    `new_id` makes ids that no other holder makes. `now` decides the billing period alone.
    """

    known: Known
    workspace_id: str
    meter: str

    def acquire(self, block_id: str, quantity: Decimal, rate: Decimal) -> Decimal | None:
        """From the tables, as `take` says."""
        return take(
            self.known,
            block_id,
            workspace_id=self.workspace_id,
            meter=self.meter,
            quantity=quantity,
            rate=rate,
            now=self.now(),
        )

    def give_back(self, block_id: str) -> None:
        """Releases it."""
        release(self.known, block_id, workspace_id=self.workspace_id, now=self.now())


def take(
    known: Known,
    block_id: str,
    *,
    workspace_id: str,
    meter: str,
    quantity: Decimal,
    rate: Decimal,
    now: datetime,
) -> Decimal | None:
    """The size of a block that is held from now on: at least `quantity`, good for some seconds of `rate` units a
    second. 0 when less is left, `None` where nothing limits it.

    The same id again is the same block. `Refused` for the id of a block that has ended, `Rejected` for a meter that
    does not sum, also where nothing limits it. `Unavailable`: ask again.
    """
    if found := known.meters([meter]).get(meter):
        check_reservable(found, leased=True)
    remaining = left(known, workspace_id=workspace_id, meter=meter, now=now)
    if remaining is None:
        return None
    for size in dict.fromkeys((block_size(quantity, rate=rate, remaining=remaining), quantity)):
        try:
            granted = reserve(
                known,
                block_id,
                workspace_id=workspace_id,
                meter=meter,
                quantity=size,
                ttl=_ANY,
                now=now,
                leased=True,
            ).granted
        except Refused:
            return _taken(known, block_id, workspace_id, meter)
        if granted:
            return size
    return Decimal(0)


def _taken(known: Known, block_id: str, workspace_id: str, meter: str) -> Decimal:
    """The size of a block that was taken before, when another size fitted."""
    stored = known.store.get(Table.RECORDS, keys.reservation(workspace_id, block_id), consistent=True) or {}
    if (stored.get("meter"), stored.get("status")) != (meter, ReservationStatus.OPEN) or not stored.get("leased"):
        raise Refused(f"block {block_id} has ended, or is another reservation; take another id")
    return Decimal(stored["quantity"])
