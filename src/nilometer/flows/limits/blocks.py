"""What every lease does, wherever its blocks come from: hold, give out, report, give back.

    check ──▶ enough in the block? ──▶ yes: given out, in memory
                └▶ no: one request for a block, and if too little is left for just this much

What if the process dies? Its blocks stay taken (`domain.limits.lease`): usage that nobody reported is never given out
a second time. What if the report is lost? It is kept and made again under the block's id, which counts once. What of
clocks? A block has no end; only its age in this process, by the monotonic clock, makes an idle holder give it back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self

from nilometer.domain.usage.event import parse_quantity
from nilometer.errors import NilometerError, Unavailable
from nilometer.flows.limits.forked import of_one_process

LONGEST = 60.0  # seconds until a block is reported and what is left of it goes back
LOOKS = 10.0  # seconds between two looks where nothing limits
REFILL = 4  # the next block is fetched when less than this part of one is left
_ONE = Decimal(1)
_UNLIMITED = Decimal("Infinity")
MOST = Decimal(10**15 - 1)  # of one quantity

Report = Callable[[str, Decimal, datetime], Any]
"""Publishes what was used of a block: one usage event with this id, this quantity, this time, and the id as its
`reservation_id`. An error: the same is reported again."""


@dataclass(slots=True)
class _Block:
    id: str
    size: Decimal
    began: float
    taken_at: datetime
    """Of the period in which it is reserved: what it gave out is counted there, though it is reported in the next."""
    given: Decimal = Decimal(0)

    @property
    def rest(self) -> Decimal:
        return self.size - self.given


@dataclass(slots=True, kw_only=True, weakref_slot=True)
class BlockLease:
    """In one process. Thread-safe; `close` it, or use it as a context manager.

    `new_id` makes ids that no other holder makes. `now` decides the billing period alone. A subclass says where blocks
    come from.
    """

    report: Report
    new_id: Callable[[], str]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    refills: bool = True
    """Whether a thread fetches the next block before one is used up; without it a check does so."""
    _lock: threading.Lock = field(init=False)
    _blocks: list[_Block] = field(init=False)
    _unreported: list[_Block] = field(init=False)
    _unlimited_until: float = field(init=False)
    _unlimited: _Block | None = field(init=False)
    """What was given out where nothing limits: no block is held, and it is reported as one is."""
    _given: Decimal = field(init=False)
    _since: float | None = field(init=False)
    _refilling: bool = field(init=False)
    _refiller: threading.Thread | None = field(init=False)
    _settling: threading.Lock = field(init=False)
    _closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.start_empty()
        of_one_process(self)

    def start_empty(self) -> None:
        """Also in a child: its parent reports and gives back what it holds."""
        self._lock, self._settling = threading.Lock(), threading.Lock()
        self._blocks, self._unreported, self._unlimited = [], [], None
        self._unlimited_until, self._given, self._since = 0.0, Decimal(0), None
        self._refilling, self._refiller = False, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self, quantity: Decimal = _ONE) -> bool:
        """Whether `quantity` may be used; True takes it. In microseconds as long as the block lasts.

        `Unavailable` when it does not last and whoever has the blocks does not answer: nothing was taken.
        `Rejected` for a quantity of more than 15 digits before or 9 after the point.
        """
        if quantity <= 0:
            return quantity == 0
        return self.check_held(quantity) or self._fetched(quantity)

    def check_held(self, quantity: Decimal = _ONE) -> bool:
        """The part of `check` that makes no request: False says only that what is held is not enough.

        `Rejected` for a quantity that no event can report: it would hold up the reports behind it.
        """
        if quantity <= 0:
            return False
        if quantity != _ONE:
            parse_quantity(quantity)
        with self._lock:
            return self._take(quantity)

    def fetch(self, quantity: Decimal) -> bool:
        """The other part: one request, after which as much is held. It takes nothing, so whoever waits for it may be
        cancelled. False when too little is left, or the lease is closed."""
        if self._closed or not self._hold(quantity, Decimal(0)):
            return False
        self._settle_quietly()
        return True

    def close(self) -> None:
        """Reports what was given out and gives the rest back. `Unavailable` when that failed: close it again."""
        with self._lock:
            self._closed, self._unlimited_until = True, 0.0
            self._unreported += [*self._blocks, *([self._unlimited] if self._unlimited else [])]
            self._blocks, self._unlimited = [], None
            refiller = self._refiller
        if refiller:
            refiller.join()  # the block that it fetches now goes back too
        self._settle()

    def tick(self) -> None:
        """Reports blocks that are old, also those of an idle holder; call it now and then where no check does."""
        with self._lock:
            self._retire(self.monotonic())
        self._settle()

    def _take(self, quantity: Decimal) -> bool:
        """Under the lock."""
        now = self.monotonic()
        self._since = now if self._since is None else self._since
        if now < self._unlimited_until:
            self._count_unlimited(quantity, now)
            return True
        self._retire(now)
        for block in self._blocks:
            if block.rest >= quantity:
                block.given += quantity
                self._given += quantity
                if self.refills and not self._refilling and self._held() * REFILL < block.size and block.size > 1:
                    self._refilling = True
                    self._refiller = threading.Thread(target=self._refill, name="lease", daemon=True)
                    self._refiller.start()
                return True
        return False

    def _held(self) -> Decimal:
        return sum((block.rest for block in self._blocks), Decimal(0))

    def _retire(self, now: float) -> None:
        """Blocks that are used up or old are reported; under the lock."""
        done = [block for block in self._blocks if not block.rest or now - block.began > LONGEST]
        if done:
            self._blocks = [block for block in self._blocks if block not in done]
            self._unreported += done
        if self._unlimited and now - self._unlimited.began > LONGEST:
            self._unreported.append(self._unlimited)
            self._unlimited = None

    def _count_unlimited(self, quantity: Decimal, now: float) -> None:
        """Under the lock."""
        block = self._unlimited
        if block is None or block.rest < quantity or now - block.began > LONGEST:
            self._unreported += [block] if block else []
            block = self._unlimited = _Block(self.new_id(), MOST, now, self.now())
        block.given += quantity
        self._given += quantity

    def tick_quietly(self) -> None:
        """`tick`, but what cannot be reported now is kept."""
        with self._lock:
            self._retire(self.monotonic())
        self._settle_quietly()

    def acquire(self, block_id: str, quantity: Decimal, rate: Decimal) -> Decimal | None:
        """How much is held under this id from now on: at least `quantity`, for `rate` units a second; 0 when less is
        left, `None` where nothing limits it. The same id again is the same block. `Unavailable`: it may be held."""
        raise NotImplementedError

    def give_back(self, block_id: str) -> None:
        """Nothing of this block was given out. Harmless when it is not held."""
        raise NotImplementedError

    def _fetched(self, quantity: Decimal) -> bool:
        """A block that is large enough for this check, or just what it asks for."""
        if not self._hold(quantity, quantity):
            return False
        self._settle_quietly()
        return True

    def _rate(self) -> Decimal:
        """Units a second since the first check, halved with each look so that it follows."""
        with self._lock:
            now = self.monotonic()
            seconds = max(now - (self._since or now), 0.05)
            rate = self._given / Decimal(str(round(seconds, 3)))
            if seconds > LOOKS:
                self._given, self._since = self._given / 2, now - seconds / 2
        return rate

    def _hold(self, quantity: Decimal, given: Decimal) -> bool:
        """A block of at least this quantity, of which `given` is given out. When the answer is lost the same id is
        asked again."""
        block = _Block(self.new_id(), quantity, self.monotonic(), self.now(), given=given)
        if not self._reserve(block):
            return False
        with self._lock:
            if block.size.is_finite() or self._closed:
                self._given += given
                (self._unreported if self._closed else self._blocks).append(block)
            else:
                self._unlimited_until = self.monotonic() + LOOKS
                if given:
                    self._count_unlimited(given, self.monotonic())
        return True

    def _reserve(self, block: _Block) -> bool:
        def asked() -> bool:
            size = self.acquire(block.id, block.size, rate)
            if size:
                block.size = size
            elif size is None:
                block.size = _UNLIMITED
            return size is None or bool(size)

        rate = self._rate()
        try:
            return asked()
        except Unavailable:
            try:
                return asked()
            except Unavailable:
                # It may be held: whenever there is an answer, it goes back.
                block.given = Decimal(0)
                with self._lock:
                    self._unreported.append(block)
                raise

    def _refill(self) -> None:
        try:
            self._hold(_ONE, Decimal(0))
            self._settle_quietly()
        except NilometerError:
            pass  # the next check asks
        finally:
            self._refilling = False

    def _settle_quietly(self) -> None:
        """What cannot be reported now is kept; the check has its answer. It does not wait for a thread that reports."""
        if self._settling.acquire(blocking=False):
            try:
                self._report_all()
            except NilometerError:
                return
            finally:
                self._settling.release()

    def _settle(self) -> None:
        """Reports or returns every block that is done with, also those that another thread is reporting now."""
        with self._settling:
            self._report_all()

    def _report_all(self) -> None:
        """A block that fails stays with those after it."""
        while True:
            with self._lock:
                if not self._unreported:
                    return
                block = self._unreported.pop(0)
            try:
                if block.given:
                    self.report(block.id, block.given, block.taken_at)
                else:
                    self.give_back(block.id)
            except BaseException:
                with self._lock:
                    self._unreported.insert(0, block)
                raise
