"""SQS in a day: late, twice, mixed, to slow twins; what failed too often is a dead letter until a redrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.simulation.kernel.world import LawBroken, World
from tests.support.simulation.services.template import queues

from nilometer.domain.events.outcome import Message, Outcome, Result


@dataclass
class SimQueue:
    """One queue with its function. `failures` are the fields of what failed."""

    world: World
    name: str
    handle: Callable[[Sequence[Message]], list[Result]]
    waiting: list[tuple[Message, int]] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)
    working: int = 0
    sent: int = 0
    invocations: int = 0
    failures: list[str] = field(default_factory=list)

    def send(self, body: str) -> None:
        self.sent += 1
        self.waiting.append((Message(f"{self.name} {self.sent}", body), 1))

    @property
    def ready(self) -> bool:
        return bool(self.waiting) and self.working < queues()[self.name].concurrency

    def receive(self, dice: Any, *, twins: float) -> None:
        """Some messages to one more invocation; a few of them stay, for a twin."""
        self.invocations += 1
        self.working += 1
        dice.shuffle(self.waiting)
        size = min(queues()[self.name].batch, dice.choice((1, 2, 5, 20, 100)))
        batch, self.waiting = self.waiting[:size], self.waiting[size:]
        self.waiting += [(message, receive + 1) for message, receive in batch if dice.random() < twins]
        messages = [message for message, _ in batch]
        self.world.spawn(
            f"{self.name} {self.invocations}", lambda: self.handle(messages), lambda found: self._done(batch, found)
        )

    def _done(self, batch: Sequence[tuple[Message, int]], results: list[Result] | None) -> None:
        self.working -= 1
        if results is not None and [one.message_id for one in results] != [message.id for message, _ in batch]:
            raise LawBroken("not one result a message, in their order")
        for place, (message, receive) in enumerate(batch):
            if results is not None and results[place].outcome is not Outcome.FAILED:
                continue
            if results is not None:
                self.failures.append(str(results[place].fields))
            if receive >= queues()[self.name].receives:
                self.dead.append(message)
            else:
                self.waiting.append((message, receive + 1))

    def redrive(self) -> None:
        """What an operator does when the world is well again."""
        self.waiting = [(message, 1) for message in [*(message for message, _ in self.waiting), *self.dead]]
        self.dead = []
