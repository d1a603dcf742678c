"""What the network and the machines may do to a delivery, on purpose and repeatably.

Each source of events draws from a generator of its own, seeded with the seed and the source's name, so
the n-th batch of a queue meets the same fate in every run. What is in the n-th batch depends on time.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

_T = TypeVar("_T")

DELAY_SECONDS = 0.5
KILL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Chaos:
    """Probabilities from 0 to 1, for each batch; `duplicate` and `reorder` of queues for each message.

    duplicate    a message comes again in a later batch; a stream's batch that succeeded is delivered again
    delay        a batch waits up to half a second
    reorder      a message waits for a later batch, and a batch is shuffled (queues only: streams are ordered)
    kill         SIGKILL to the worker up to 0.1 s into the invocation, or just after it has finished
    drop_answer  the function ran, its success counts as a failure

    A message of a queue that was received three times is spared by `kill` and `drop_answer`, so that
    only true failures end in a dead-letter queue. HTTP requests are spared unless `http` is set.
    """

    seed: int
    duplicate: float = 0.0
    delay: float = 0.0
    reorder: float = 0.0
    kill: float = 0.0
    drop_answer: float = 0.0
    http: bool = False


@dataclass(frozen=True, slots=True)
class Sabotage:
    """What happens to one invocation. Seconds; None is never."""

    delay: float = 0.0
    kill_after: float | None = None
    kill_finished: bool = False
    drop_answer: bool = False


NONE = Sabotage()


@dataclass(slots=True)
class Dice:
    """The chaos of one source. Thread-safe; without chaos it decides nothing."""

    chaos: Chaos | None
    source: str
    _random: random.Random = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(f"{self.chaos and self.chaos.seed}:{self.source}")

    def sabotage(self, *, spared: bool = False) -> Sabotage:
        """The same number of draws whatever is decided, so that one switch does not move the others."""
        if self.chaos is None:
            return NONE
        with self._lock:
            delay, long, kill, early, late, drop = (self._random.random() for _ in range(6))
        killed = kill < self.chaos.kill and not spared
        return Sabotage(
            delay=long * DELAY_SECONDS if delay < self.chaos.delay else 0.0,
            kill_after=late * KILL_SECONDS if killed and early < 0.5 else None,
            kill_finished=killed and early >= 0.5,
            drop_answer=drop < self.chaos.drop_answer and not spared,
        )

    def duplicated(self) -> bool:
        """Whether a message, or a batch of a stream, is delivered again."""
        return self._drawn(self.chaos.duplicate if self.chaos else 0.0)

    def held_back(self) -> bool:
        """Whether a message waits for a later batch."""
        return self._drawn(self.chaos.reorder if self.chaos else 0.0)

    def order(self, items: Sequence[_T]) -> list[_T]:
        """A new list, shuffled when messages may come out of order."""
        shuffled = list(items)
        if self.chaos and self.chaos.reorder:
            with self._lock:
                self._random.shuffle(shuffled)
        return shuffled

    def _drawn(self, probability: float) -> bool:
        if not probability:
            return False
        with self._lock:
            return self._random.random() < probability
