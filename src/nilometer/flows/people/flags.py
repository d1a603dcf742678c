"""Feature flags: what is set, and whether one is on in a workspace.

`Flags` answers from the memory of the process for ten seconds; a switch that is turned off is off everywhere after
that time. While the table does not answer, what was last known is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people import flag
from nilometer.domain.people.flag import Evaluation
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.domain.usage.meter import check_name
from nilometer.errors import Unavailable
from nilometer.flows.people.acting import reading

SECONDS = 10.0
REMEMBERED = 20_000  # items, absent ones included, before expired ones are dropped


def all_flags(store: Store) -> list[Item]:
    """By name. Eventually consistent."""
    return list(store.query_index(keys.FLAGS))


def overrides(store: Store, name: str) -> Iterator[Item]:
    """For operators: the overrides of one flag in effect, by workspace. Eventually consistent."""
    return store.query_index(keys.flag(name).pk, prefix="WORKSPACE#")


def explain(store: Store, caller: Caller, name: str) -> Evaluation:
    """The answer of this moment in the caller's workspace and why, past every memory."""
    check_name(name)
    [answer] = _explained(store, caller, [name])
    return answer


def explain_all(store: Store, caller: Caller) -> list[Evaluation]:
    """Every flag that is not archived, by name, as it is in the caller's workspace."""
    return _explained(store, caller, [item["flag"] for item in all_flags(store) if not item["archived"]])


def _explained(store: Store, caller: Caller, names: Sequence[str]) -> list[Evaluation]:
    reading(store, caller, Permission.FLAG_VIEW)
    wanted = [(keys.flag(name), keys.override(caller.workspace_id, name)) for name in names]
    stored = store.batch_get(Table.RECORDS, [key for pair in wanted for key in pair], consistent=True)
    return [
        flag.evaluate(name, caller.workspace_id, stored.get(record), stored.get(own))
        for name, (record, own) in zip(names, wanted, strict=True)
    ]


@dataclass(slots=True)
class Flags:
    """One a process, shared by its threads. `monotonic` is handed in by tests that let time pass."""

    store: Store
    monotonic: Callable[[], float] = time.monotonic
    _known: dict[Key, tuple[float, Item | None]] = field(default_factory=dict)

    def is_on(self, name: str, workspace_id: str) -> bool:
        """`evaluate` of one flag. False for a flag that is not known."""
        return self.evaluate([name], workspace_id)[name].on

    def evaluate(self, names: Iterable[str], workspace_id: str) -> Mapping[str, Evaluation]:
        """Every one of `names`, in one read of what is not remembered (up to 50 names).

        `Unavailable` only for what this process has never read.
        """
        wanted = {name: (keys.flag(name), keys.override(workspace_id, name)) for name in names}
        items = self._items([key for pair in wanted.values() for key in pair])
        return {name: flag.evaluate(name, workspace_id, items[f], items[o]) for name, (f, o) in wanted.items()}

    def _items(self, wanted: Sequence[Key]) -> Mapping[Key, Item | None]:
        """What is absent is remembered as well: most workspaces have no override."""
        now, known = self.monotonic(), self._known
        held = {key: known[key] for key in wanted if key in known}
        missing = [key for key in wanted if key not in held or held[key][0] <= now]
        if missing:
            held |= self._read(missing, held, now)
        return {key: item for key, (_, item) in held.items()}

    def _read(
        self, missing: Sequence[Key], held: Mapping[Key, tuple[float, Item | None]], now: float
    ) -> Mapping[Key, tuple[float, Item | None]]:
        try:
            found = self.store.batch_get(Table.RECORDS, missing)
        except Unavailable:
            if any(key not in held for key in missing):
                raise
            return {}
        read: dict[Key, tuple[float, Item | None]] = {key: (now + SECONDS, found.get(key)) for key in missing}
        self._remember(read, now)
        return read

    def _remember(self, read: Mapping[Key, tuple[float, Item | None]], now: float) -> None:
        """Other threads read meanwhile: entries are only added, or all replaced at once."""
        if len(self._known) + len(read) > REMEMBERED:
            living = {key: entry for key, entry in self._known.copy().items() if entry[0] > now}
            self._known = living if len(living) + len(read) <= REMEMBERED else {}
        self._known.update(read)
