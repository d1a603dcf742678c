"""Where a run asks what happens next: enumerated, drawn from a seed, or replayed from a list.

Every question has a name that does not depend on what happened elsewhere (`billing 2/5 fault`: the fault of the fifth
request of the task `billing 2`), so that a list of answers keeps its meaning while it is shrunk. Answer 0 is always
the calm one: go on with the same task, no fault.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Protocol

Answers = Mapping[str, int]
"""What was not calm, by the name of the question."""


class Chooser(Protocol):
    """Answers questions; remembers in `taken` every answer that is not 0."""

    taken: dict[str, int]

    def pick(self, question: str, options: int) -> int:
        """From 0 to `options` - 1."""
        ...

    def turn(self, question: str, tasks: int, last: int) -> int:
        """How many places after the task that went on last, whose place is `last`, the next one stands."""
        ...


class Replayed:
    """The answers of a list; everything else is calm."""

    def __init__(self, answers: Answers | None = None) -> None:
        self.answers = dict(answers or {})
        self.taken: dict[str, int] = {}

    def pick(self, question: str, options: int) -> int:
        answer = self.answers.get(question, 0)
        if not 0 < answer < options:
            return 0
        self.taken[question] = answer
        return answer

    def turn(self, question: str, tasks: int, last: int) -> int:  # the chooser's interface
        return self.pick(question, tasks)


class Enumerated:
    """One branch after the other, depth first: `advance` prepares the next and says whether there is one."""

    def __init__(self) -> None:
        self.path: list[int] = []
        self.widths: list[int] = []
        self.at = 0
        self.taken: dict[str, int] = {}

    def pick(self, question: str, options: int) -> int:
        if options <= 1:
            return 0
        if self.at == len(self.path):
            self.path.append(0)
            self.widths.append(options)
        self.widths[self.at] = options
        answer = self.path[self.at]
        self.at += 1
        if answer:
            self.taken[question] = answer
        return answer

    def turn(self, question: str, tasks: int, last: int) -> int:
        """The branches are in the order of the tasks, so that they do not depend on who went on last."""
        answer = (self.pick(question, tasks) - last) % tasks
        self.taken.pop(question, None)
        if answer:
            self.taken[question] = answer
        return answer

    @property
    def is_new(self) -> bool:
        """Whether the run has left the path of the one before."""
        return self.at >= len(self.path)

    def advance(self) -> bool:
        del self.path[self.at :], self.widths[self.at :]
        while self.path and self.path[-1] + 1 >= self.widths[-1]:
            self.path.pop()
            self.widths.pop()
        if not self.path:
            return False
        self.path[-1] += 1
        self.at = 0
        return True


class Seeded:
    """Answers by chance; the likelihood of a trouble is that of its kind, the last part of a question's name.

    Now and then an outage begins: for a while nearly every request is refused.
    """

    def __init__(self, seed: int, likelihood: Mapping[str, float]) -> None:
        self.random = random.Random(seed)
        self.likelihood = likelihood
        self.taken: dict[str, int] = {}
        self._outage = 0

    def pick(self, question: str, options: int) -> int:
        if options <= 1:
            return 0
        kind = question.rpartition(" ")[2]
        answer = self._outages() if kind == "fault" else 0
        if not answer and self.random.random() < self.likelihood.get(kind, 0.0):
            answer = 1 + int(self.random.random() * (options - 1))
        if answer:
            self.taken[question] = answer
        return answer

    def turn(self, question: str, tasks: int, last: int) -> int:  # the chooser's interface
        return self.pick(question, tasks)

    def _outages(self) -> int:
        """The first trouble of a request is that it is refused."""
        if self._outage:
            self._outage -= 1
            return int(self.random.random() < 0.9)
        if self.random.random() < self.likelihood.get("outage", 0.0):
            self._outage = self.random.choice((5, 20, 60))
        return 0
