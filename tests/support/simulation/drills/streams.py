"""DynamoDB's streams in played time: each reader in order, again later and later, in halves after a crash, by age."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.support.simulation.kernel.world import World
from tests.support.simulation.scopes.usage.counting import law
from tests.support.simulation.services.dynamodb import SimTables, StreamChange
from tests.support.simulation.services.streams import record
from tests.support.simulation.services.template import streams

from nilometer.domain.events.outcome import Outcome, Result
from nilometer.domain.store.writes import Table

READERS = ("RecordsStream", "EventsStream", "LimitsStream")
LONGEST_WAIT = 60
"""Seconds between two tries of a batch; the first is a few."""


class TimedStreams:
    """All readers. `read` calls the function of one with records: its results, None when the call failed."""

    def __init__(
        self,
        tables: SimTables,
        world: World,
        read: Callable[[str, list[Any]], list[Result] | None],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._tables = tables
        self._world = world
        self._call = read
        self._later = later
        self._positions = {name: _Position() for name in READERS}

    def follow(self) -> None:
        """Each stream that has something new is read a second later."""
        for name, position in self._positions.items():
            if not position.due and position.next < len(self._tables.stream):
                self._read_in(1, name)

    def behind(self) -> dict[str, int]:
        """How many changes each reader has not passed yet."""
        last = len(self._tables.stream)
        return {name: last - one.next for name, one in self._positions.items() if one.next < last}

    def _read_in(self, seconds: float, name: str) -> None:
        self._positions[name].due = True
        self._later(seconds, lambda: self._read(name))

    def _read(self, name: str) -> None:
        position, source = self._positions[name], streams()[name]
        position.due = False
        waiting = [one for one in self._tables.stream[position.next :] if _passes(name, one)]
        batch = waiting[: position.size or source.batch]
        if not batch:
            position.next = len(self._tables.stream)
            return
        law(self._world.now.timestamp() - batch[0].second < source.age, f"{name} gave a batch up")
        results = self._call(name, [record(one) for one in batch])
        failed = 0 if results is None else _first_failed(results)
        if failed is None:
            position.go_to(batch[-1].number)
            return
        if failed:
            position.go_to(batch[failed].number - 1)
        position.attempt += 1
        position.size = max(len(batch) // 2, 1) if results is None else position.size
        self._read_in(min(2**position.attempt, LONGEST_WAIT), name)


class _Position:
    """Where the reader of a stream stands; its shards are one here."""

    def __init__(self) -> None:
        self.next = 0
        self.attempt = 0
        self.size: int | None = None
        self.due = False

    def go_to(self, number: int) -> None:
        """All up to this change is done."""
        self.next, self.attempt, self.size = number, 0, None


_LIMITING = {"counter", "billing", "limits"}


def _passes(name: str, change: StreamChange) -> bool:
    """The filters of the mappings."""
    if name == "EventsStream":
        return change.table == Table.EVENTS and change.old is None
    limits = change.new is not None and change.new["kind"]["S"] in _LIMITING
    return change.table == Table.RECORDS and (name != "LimitsStream" or limits)


def _first_failed(results: Sequence[Result]) -> int | None:
    return next((place for place, one in enumerate(results) if one.outcome is Outcome.FAILED), None)
