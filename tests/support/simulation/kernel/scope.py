"""A scope: a small world whose every schedule is tried. What a schedule needs: a setup, tasks, laws."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.support.simulation.kernel.choices import Answers, Chooser, Enumerated, Replayed
from tests.support.simulation.kernel.steps import StepLaw
from tests.support.simulation.kernel.world import KnownState, LawBroken, ReadOnly, World
from tests.support.simulation.services.dynamodb import SimDynamoDB, SimTables
from tests.support.simulation.services.storage import SimS3
from tests.support.simulation.services.template import receives

from nilometer.aws import encoding
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.store.writes import Table
from nilometer.errors import Unavailable
from nilometer.flows.usage.known import Known

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PAGE = 2  # items of a page, so that a partition has several

Handle = Callable[[Sequence[Message]], list[Result]]


class Plant:
    """What the handlers of one run share: the tables, the bucket, the clock; and the queue that delivers again."""

    def __init__(
        self,
        chooser: Chooser,
        *,
        faults: int | None,
        states: set[Any] | None = None,
        read_only: ReadOnly | None = None,
        page: int = PAGE,
    ) -> None:
        self.tables = SimTables({table.value: {} for table in Table})
        self.world = World(chooser, NOW, budget=faults, states=states, read_only=read_only)
        self.client: Any = SimDynamoDB(self.tables, self.world, page=page)
        self.store = Store(self.client, records=Table.RECORDS.value, events=Table.EVENTS.value)
        self.s3 = SimS3(self.world)
        bucket: Any = self.s3
        self.objects = Objects(bucket, bucket="bucket")
        self.world.stores += [self.tables, self.s3]
        self.steps = StepLaw(self.tables)
        self.world.every_change = self.steps.check
        self.outcomes: Counter[Any] = Counter()
        self.dead: list[Message] = []
        self.unsure: list[str] = []
        """What had to come again although nothing had gone wrong."""
        self.patient = False
        """Whether something may come again then, because it needs what is made at that moment."""
        self.open = contextlib.ExitStack()

    def during(self, patched: contextlib.AbstractContextManager[None]) -> None:
        """Entered while the tasks run."""
        self.open.enter_context(patched)

    def known(self, *, warm: Sequence[str] = (), workspaces: Sequence[str] = ()) -> Known:
        """The memory of a process: cold, or with what it read before."""
        found = Known(self.store, monotonic=self.world.monotonic)
        found.meters(warm)
        found.tenants(workspaces)
        return found

    def deliver(self, name: str, messages: Sequence[Message], handle: Handle, *, queue: str, receive: int = 1) -> None:
        """As SQS does: what failed, or all when the process died, comes again until it has been received too often."""

        def done(results: list[Result] | None) -> None:
            failed = list(messages) if results is None else _failed(messages, results)
            self.outcomes.update(result.outcome for result in results or ())
            if failed and not self.world.faults:
                self.unsure.append(name)
            if failed and receive >= receives(queue):
                self.dead += failed
            elif failed:
                self.deliver(f"{name}'", failed, handle, queue=queue, receive=receive + 1)

        self.world.spawn(name, lambda: handle(messages), done)

    @contextlib.contextmanager
    def calm(self) -> Iterator[None]:
        """Nothing goes wrong, and nobody else works."""
        was, self.world.calm = self.world.calm, True
        try:
            yield
        finally:
            self.world.calm = was

    def on_change(self, part: str, react: Callable[[], Any], *, name: str = "reaction") -> Callable[[], None]:
        """Does, as an invariant, what a stream does: `react` follows each change of a record with `part` in its key."""
        seen = [len(self.tables.stream)]

        def look() -> None:
            for change in self.tables.stream[seen[0] :]:
                if part in change.key[1] and change.new is not None:
                    self.repeat(f"{name} {change.number}", react, until=Unavailable, times=6, surely=True)
            seen[0] = len(self.tables.stream)

        return look

    def repeat(
        self,
        name: str,
        work: Callable[[], Any],
        *,
        times: int = 5,
        until: type[Exception] | tuple[type[Exception], ...] = (),
        after: Callable[[], None] = lambda: None,
        surely: bool = False,
    ) -> None:
        """As a caller or a schedule does: the same again when the process died or raised `until`; then `after`.

        `surely`: as long as nothing goes wrong the first attempt has its answer, whoever works at the same time.
        """

        def attempt() -> bool:
            try:
                work()
            except until as error:
                self.world.tell(f"{name} is answered: {error}")
                if surely and not self.world.faults:
                    self.unsure.append(name)
                return False
            return True

        def done(ended: bool | None) -> None:
            if ended or times == 1:
                after()
            else:
                self.repeat(f"{name}'", work, times=times - 1, until=until, after=after, surely=surely)

        self.world.spawn(name, attempt, done)


def _failed(messages: Sequence[Message], results: Sequence[Result]) -> list[Message]:
    if [result.message_id for result in results] != [message.id for message in messages]:
        raise LawBroken("not one result a message, in their order")
    failed = {result.message_id for result in results if result.outcome is Outcome.FAILED}
    return [message for message in messages if message.id in failed]


@dataclass(frozen=True)
class Scope:
    """`setup` fills the stores, once; `prepare` spawns the tasks and returns the laws at the end."""

    name: str
    prepare: Callable[[Plant], Callable[[], None]]
    setup: Callable[[Plant], None] = lambda _: None
    faults: int = 2
    page: int = PAGE


@dataclass
class Explored:
    """What trying every schedule of a scope found."""

    scope: str
    schedules: int = 0
    pruned: int = 0
    states: int = 0
    seconds: float = 0.0
    ended: bool = True
    broken: Counter[str] = field(default_factory=Counter)
    first: Answers = field(default_factory=dict)
    ends: set[int] = field(default_factory=set)
    """Hashes of what the stores held at the end."""


def play(
    scope: Scope,
    chooser: Chooser,
    *,
    faults: int | None,
    states: set[Any] | None = None,
    read_only: ReadOnly | None = None,
    lines: list[str] | None = None,
) -> Plant:
    """One schedule; raises `LawBroken`. `lines` get its story."""
    plant = Plant(chooser, faults=faults, states=states, read_only=read_only, page=scope.page)
    with plant.world.installed(), plain_encoding():
        _fill(scope, plant)
        with plant.open:
            laws = scope.prepare(plant)
            plant.tables.settle()
            plant.steps.begin()
            plant.tables.written = read_only and read_only.write
            plant.world.story = lines
            plant.world.run()
            plant.tables.written = None
        if plant.dead:
            raise LawBroken(f"{len(plant.dead)} messages are dead letters")
        if plant.unsure and not plant.patient:
            raise LawBroken(f"nothing went wrong, and {', '.join(plant.unsure)} had to come again")
        laws()
    return plant


_FILLED: dict[Callable[[Plant], None], SimTables] = {}


def _fill(scope: Scope, plant: Plant) -> None:
    """The same setup is done once: what it stored is copied."""
    if scope.setup not in _FILLED:
        scope.setup(plant)
        _FILLED[scope.setup] = plant.tables.copy()
    plant.tables.fill(_FILLED[scope.setup])


def explore(
    scope: Scope,
    *,
    faults: int | None = None,
    pruned: bool = True,
    seconds: float = 600.0,
    stop: bool = False,
    taken: dict[str, int] | None = None,
) -> Explored:
    """Every schedule, or those of `seconds`; with `stop`, until the first that breaks a law.

    `taken` has the choices of the schedule that is played, should the product crash in it.
    """
    began = time.process_time()
    budget = scope.faults if faults is None else faults
    read_only = ReadOnly() if pruned else None
    while True:
        chooser, found = Enumerated(), Explored(scope.name)
        states: set[Any] | None = set() if pruned else None
        while not (read_only and read_only.wrong):
            chooser.taken = _cleared(taken)
            _explore_one(scope, chooser, found, budget, states, read_only)
            found.ended = not chooser.advance()
            found.seconds = time.process_time() - began
            found.states = len(states or ())
            if found.ended or found.seconds > seconds or (stop and found.broken):
                break
        if not (read_only and read_only.wrong):
            return found
        read_only = ReadOnly(read_only.written)


def _cleared(taken: dict[str, int] | None) -> dict[str, int]:
    if taken is None:
        return {}
    taken.clear()
    return taken


def _explore_one(
    scope: Scope,
    chooser: Enumerated,
    found: Explored,
    budget: int,
    states: set[Any] | None,
    read_only: ReadOnly | None,
) -> None:
    found.schedules += 1
    try:
        plant = play(scope, chooser, faults=budget, states=states, read_only=read_only)
        found.ends.add(hash(tuple(one.digest for one in plant.world.stores)))
    except KnownState:
        found.pruned += 1
    except LawBroken as error:
        found.broken[str(error)] += 1
        found.first = found.first or dict(chooser.taken)


def story(scope: Scope, answers: Answers) -> tuple[list[str], str]:
    """What happens under these answers, line by line, and the law that it breaks ("" for none)."""
    lines: list[str] = []
    try:
        play(scope, Replayed(answers), faults=None, lines=lines)
    except LawBroken as error:
        return lines, str(error)
    return lines, ""


class plain_encoding:  # noqa: N801  # used as a context manager, like a function
    """The wire's own encoding is left out: the client in memory takes the request itself."""

    def __enter__(self) -> None:
        self.before = encoding.call
        encoding.call = lambda method, request, sample: method(**request)

    def __exit__(self, *_: object) -> None:
        encoding.call = self.before
