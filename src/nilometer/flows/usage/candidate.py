"""Candidates: valid events on their way to be settled, and what a batch shares while it settles them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key, Table
from nilometer.domain.usage.event import UsageEvent
from nilometer.domain.usage.void import VoidEvent
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.usage.known import Known

ATTEMPTS = 12
RESERVE_SECONDS = 3.0  # what a last transaction and the answer may take before Lambda's deadline
REUSED = "this source and id came before with another payload; give each fact its own id"


@dataclass(slots=True, eq=False)
class Candidate:
    """One valid event. Until it is settled its outcome is FAILED: it comes again."""

    event: UsageEvent | VoidEvent
    payload: bytes
    received_at: datetime
    waited: Key | None = None
    """The item in which it waited for its workspace."""
    outcome: Outcome = Outcome.FAILED
    error: Rejected | None = None
    failure: str = ""
    """Why it is not settled, for the log."""
    buried: bool = False
    """Its void came first."""
    twins: list[Candidate] = field(default_factory=list)
    """Copies of the same event in this batch."""
    key: Key = field(init=False)

    def __post_init__(self) -> None:
        self.key = keys.usage_event(self.event.source, self.event.id)

    def settle(self, stored_hash: str, outcome: Outcome) -> None:
        """Its identity is stored already: with this payload, or with another one."""
        if stored_hash == self.event.payload_hash:
            self.outcome = outcome
        else:
            self.reject(Rejected("id_reuse", REUSED))

    def reject(self, error: Rejected) -> None:
        self.outcome, self.error = Outcome.REJECTED, error

    def note(self, error: Exception) -> None:
        """Our own messages are safe to log; of a stranger's error only its name is."""
        self.failure = str(error) if isinstance(error, Unavailable) else type(error).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The dependencies of one batch. `remaining` is the seconds until the process is stopped."""

    store: Store
    known: Known
    now: datetime
    remaining: Callable[[], float]

    @property
    def expired(self) -> bool:
        """Nothing new may be started."""
        return self.remaining() < RESERVE_SECONDS

    def pause(self, attempt: int) -> None:
        """Full jitter from 20 ms up to 1 s."""
        time.sleep(min(random.uniform(0, min(0.02 * 2**attempt, 1.0)), max(0.0, self.remaining())))

    def unstored(
        self, candidates: Sequence[Candidate], *, consistent: bool, only: frozenset[int] | None = None
    ) -> list[Candidate]:
        """Settles the candidates whose identity is stored, marks those whose void came first, returns the others.

        `only` are the positions worth a look; all of them when it is `None`.
        """
        doubtful = [one for index, one in enumerate(candidates) if only is None or index in only]
        wanted = [one.key for one in doubtful]
        stored = self.store.batch_get(Table.EVENTS, wanted, consistent=consistent, attributes=("payload_hash",))
        for one in doubtful:
            if one.key in stored:
                self._found(one, stored[one.key]["payload_hash"])
        return [one for one in candidates if one.outcome is Outcome.FAILED and not one.buried]

    def _found(self, one: Candidate, payload_hash: str) -> None:
        if payload_hash:
            one.settle(payload_hash, Outcome.DUPLICATE)
        else:
            one.buried = True


def settle(candidates: Iterable[Candidate], outcome: Outcome) -> None:
    for one in candidates:
        one.outcome = outcome


def note(candidates: Iterable[Candidate], error: Exception) -> None:
    for one in candidates:
        one.note(error)


def collapse(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The first of each identity; its copies hang on it. Another payload under the same identity too."""
    leaders: dict[Key, Candidate] = {}
    for one in candidates:
        leader = leaders.setdefault(one.key, one)
        if leader is not one:
            leader.twins.append(one)
    return list(leaders.values())


def settle_twins(leader: Candidate) -> None:
    """Copies are duplicates of what was stored; while the first is not settled they come again with it."""
    for twin in leader.twins:
        if leader.outcome in {Outcome.ACCEPTED, Outcome.DUPLICATE}:
            twin.settle(leader.event.payload_hash, Outcome.DUPLICATE)
        elif leader.outcome is Outcome.WAITING:
            twin.settle(leader.event.payload_hash, Outcome.WAITING)


def by_workspace(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    groups: dict[str, list[Candidate]] = {}
    for one in candidates:
        groups.setdefault(one.event.workspace_id, []).append(one)
    return list(groups.values())
