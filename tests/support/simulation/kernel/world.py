"""One run: tasks that give way before every request, one clock, and the faults that a chooser picks.

A task is real code of the product in a greenlet. Between two requests it depends on nothing but the answers that it
got, so a run is its list of choices, and two runs that reach the same stores, answers and budget go on alike: that is
what pruning rests on.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, NoReturn

import greenlet
from tests.support.simulation.kernel.choices import Chooser

_SLEEP, _OTHERS = time.sleep, random.Random()  # what threads of others use
STEPS = 100_000  # of one run; more is a run without an end


class ProcessDied(BaseException):
    """The process is gone: nothing of the product's code may handle it."""


class LawBroken(AssertionError):
    """A law of the product does not hold."""


class KnownState(BaseException):
    """The run has come to a state from which everything was tried."""


@dataclass(eq=False)
class SimTask:
    """One process that works. `history` is a hash of all that it was answered."""

    name: str
    greenlet: Any
    chance: random.Random
    begun: bool = False
    died: bool = False
    requests: int = 0
    parked: int = 0
    history: int = 0


class SimRequest(NamedTuple):
    """A request to a service: what can go wrong with it, and how to say what it is."""

    operation: str
    troubles: Sequence[str]
    describe: Callable[[], str]
    reads: Sequence[Any] | None = None
    """What alone decides the answer, for a request that changes nothing; None for any other."""


@dataclass
class ReadOnly:
    """What no schedule of a search writes, as far as it is known: nobody notices when it is read.

    A read of it gives way to nobody. When it turns out that it is written after all, the search begins anew.
    """

    written: set[Any] = field(default_factory=set)
    trusted: set[Any] = field(default_factory=set)
    wrong: bool = False

    def allows(self, reads: Sequence[Any] | None) -> bool:
        """Whether a request may go on at once."""
        if reads is None or not self.written.isdisjoint(reads):
            return False
        self.trusted.update(reads)
        return True

    def write(self, places: Sequence[Any]) -> None:
        self.written.update(places)
        self.wrong = self.wrong or not self.trusted.isdisjoint(places)


@dataclass
class World:
    """`budget` is how many faults may still come (None: no bound). `states` makes the run stop at a state in it."""

    chooser: Chooser
    now: datetime
    budget: int | None = None
    states: set[Any] | None = None
    read_only: ReadOnly | None = None
    calm: bool = True
    random_time: bool = False
    tasks: list[SimTask] = field(default_factory=list)
    stores: list[Any] = field(default_factory=list)
    """What has a `digest`: everything that tasks share."""
    story: list[str] | None = None
    faults: int = 0
    requests: int = 0
    invariant: Callable[[], None] | None = None
    """Looked at after each request that changed a store."""
    every_change: Callable[[], None] = lambda: None
    """The same, for the laws of all runs."""
    _main: Any = field(default_factory=greenlet.getcurrent)
    _current: SimTask | None = None
    _last: SimTask | None = None
    _checked: int = -1
    _thread: int = field(default_factory=threading.get_ident)
    _setup: random.Random = field(default_factory=lambda: random.Random(0))

    # ------------------------------------------------------------------ tasks

    def spawn(self, name: str, work: Callable[[], Any], done: Callable[[Any], None] = lambda _: None) -> None:
        """`done` gets the answer of `work`, or None when its process died."""

        def body() -> None:
            try:
                answer = work()
                if self._trouble(task, "end", ("dies",)):
                    self._die(task)
            except ProcessDied:
                answer = None
            done(answer)

        task = SimTask(name, greenlet.greenlet(body), random.Random(name))
        self.tasks.append(task)

    def run(self) -> None:
        """Until no task is left."""
        self.calm = False
        try:
            for _ in range(STEPS):
                if not self.tasks:
                    break
                self.step()
            else:
                raise LawBroken("the run does not come to an end")
        finally:
            self._abandon()
        self.calm = True

    def _abandon(self) -> None:
        """Ends the tasks of a run that stopped early: Python's collector does not see into a suspended greenlet, so all
        that it holds would stay in memory.
        """
        left, self.tasks = self.tasks, []
        for task in left:
            self._current, task.died = task, True
            if task.greenlet:
                task.greenlet.throw()
        self._current = None

    def step(self) -> None:
        if not self.random_time:
            self._begin()
        if self.tasks:
            self._prune()
            self._last = self._turn()
            self._go_on(self._last)

    def _begin(self) -> None:
        """Each task up to its first request: nobody notices who was first."""
        while new := next((task for task in self.tasks if not task.begun), None):
            self._go_on(new)

    def _go_on(self, task: SimTask) -> None:
        task.begun = True
        self._current = task
        try:
            task.greenlet.switch()
        finally:
            self._current = None
        if task.greenlet.dead:
            self.tasks.remove(task)
        self._check()

    def _turn(self) -> SimTask:
        tasks = self.tasks
        if len(tasks) == 1:
            return tasks[0]
        last = self._last
        first = tasks.index(last) if last in tasks else 0
        name = f"{last.name}/{last.requests} turn" if last else "first turn"
        task = tasks[(first + self.chooser.turn(name, len(tasks), first)) % len(tasks)]
        if self.story is not None and task is not self._last:
            self.tell(f"— {task.name} goes on" if task.requests else f"— {task.name} begins")
        return task

    def _prune(self) -> None:
        if self.states is None or not self.chooser.is_new:  # type: ignore[attr-defined]
            return
        state = self.state()
        if state in self.states:
            raise KnownState
        self.states.add(state)

    def state(self) -> Any:
        tasks = tuple(sorted((task.name, task.parked, task.history) for task in self.tasks))
        return hash((tuple(one.digest for one in self.stores), self.budget, tasks, self.now))

    def _check(self) -> None:
        """The laws that hold at every step, once a change."""
        digest = hash(tuple(one.digest for one in self.stores))
        if digest != self._checked:
            self._checked = digest
            was, self.calm = self.calm, True
            self.every_change()
            if self.invariant:
                self.invariant()
            self.calm = was

    # ------------------------------------------------------------------ requests and their faults

    def request(self, what: SimRequest, perform: Callable[[str], Any], digest: Callable[[Any], Any]) -> Any:
        """Gives way, then performs with the trouble that was picked ("" for none), then remembers the answer."""
        task = self._current
        self.requests += 1
        if task is None or self._main is greenlet.getcurrent():
            return perform("")
        if task.died:
            raise ProcessDied
        if self.read_only is None or not self.read_only.allows(what.reads):
            task.parked += 1
            self._main.switch()
        task.requests += 1
        trouble = self._trouble(task, what.operation, what.troubles)
        if trouble == "dies":
            if self.story is not None:
                self.tell(f"{task.name} dies before {what.describe()}")
            self._die(task)
        if self.story is not None:
            self.tell(f"{task.name}: {what.describe()}{f' — {_SAID[trouble]}' if trouble else ''}")
        try:
            answer = perform(trouble)
        except Exception as error:
            task.history = hash((task.history, what.operation, trouble, str(error)))
            raise
        task.history = hash((task.history, what.operation, trouble, digest(answer)))
        return answer

    def _trouble(self, task: SimTask, operation: str, troubles: Sequence[str]) -> str:
        if self.calm or self.budget == 0 or not troubles:
            return ""
        picked = self.chooser.pick(f"{task.name}/{task.requests} {operation} fault", len(troubles) + 1)
        if not picked:
            return ""
        self.faults += 1
        if self.budget is not None:
            self.budget -= 1
        return troubles[picked - 1]

    def _die(self, task: SimTask) -> NoReturn:
        task.died = True
        if self.story is not None and task.requests == 0:
            self.tell(f"{task.name} dies")
        raise ProcessDied

    def tell(self, line: str) -> None:
        if self.story is not None:
            self.story.append(line)

    # ------------------------------------------------------------------ clock, pauses, chance

    def sleep(self, seconds: float) -> None:
        """Takes no time where all orders are tried; else time goes on for everybody. Threads of others really wait."""
        if threading.get_ident() != self._thread:
            _SLEEP(seconds)
        elif self.random_time:
            self.now += timedelta(seconds=float(seconds))

    def monotonic(self) -> float:
        return self.now.timestamp()

    @property
    def working(self) -> str:
        """The name of the task that goes on at this moment."""
        return self._current.name if self._current else ""

    @property
    def chance(self) -> random.Random:
        """The product's dice: of the task, so that they depend on nothing else."""
        if threading.get_ident() != self._thread:
            return _OTHERS
        return self._current.chance if self._current else self._setup

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """The pauses and dice that the product reaches for are this world's."""
        before = [(module, name, getattr(module, name)) for module, names in _PATCHED for name in names]
        time.sleep = self.sleep  # type: ignore[assignment]
        for name in _PATCHED[1][1]:
            setattr(random, name, _dice(self, name))
        secrets.token_bytes = lambda n=32: self.chance.randbytes(n)  # type: ignore[assignment]
        secrets.token_urlsafe = lambda n=32: self.chance.randbytes(n).hex()  # type: ignore[assignment]
        try:
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)


_PATCHED = (
    (time, ("sleep",)),
    (random, ("uniform", "randrange", "sample", "random")),
    (secrets, ("token_bytes", "token_urlsafe")),
)
_SAID = {
    "refused": "refused, nothing happens",
    "lost": "it lands, the answer is lost",
    "conflict": "cancelled: TransactionConflict",
    "throttled": "cancelled: ThrottlingError",
    "old": "an old read",
    "part": "only a part of it is taken",
    "dies": "dies",
}


def _dice(world: World, name: str) -> Callable[..., Any]:
    return lambda *args: getattr(world.chance, name)(*args)  # noqa: PLW0108  # asked anew each time
