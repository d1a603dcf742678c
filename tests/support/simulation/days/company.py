"""A day of a small company over all flows at once, under bursts of faults; then they end, and the laws are read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import chain
from random import Random
from typing import Any

import msgspec
from tests.support.flows.billing_play import PLAYED_AT, wrong
from tests.support.lake.build import KEYS
from tests.support.simulation.days import deeds
from tests.support.simulation.days.announced import announcements_add_up
from tests.support.simulation.days.queues import SimQueue
from tests.support.simulation.kernel.choices import Answers, Chooser, Replayed, Seeded
from tests.support.simulation.kernel.scope import Plant, plain_encoding
from tests.support.simulation.kernel.world import LawBroken
from tests.support.simulation.scopes.events import RECORD_CHANGED, enveloped
from tests.support.simulation.scopes.limits.reservations import limit
from tests.support.simulation.scopes.people import members
from tests.support.simulation.scopes.usage.counting import EARLY, START, counted, law, setup, totals
from tests.support.simulation.services.dynamodb import SimTables, StreamChange
from tests.support.simulation.services.messages import SimEventBridge, SimSqs
from tests.support.simulation.services.streams import SimShard, record
from tests.support.simulation.services.stripe import SimStripe

from nilometer import CreateMeter, CreateWorkspace, operator, perform, service
from nilometer.aws.eventbridge import Bus
from nilometer.aws.sqs import Queue
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.lake.tables import STRIPE_EVENTS, USAGE, Type
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Put, Table
from nilometer.domain.stripe.event import Scope as StripeScope
from nilometer.errors import NilometerError, Rejected
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing import refetch
from nilometer.flows.lake import changes
from nilometer.flows.limits import reactions, reserving
from nilometer.flows.notices import batch as notices
from nilometer.flows.operations import batch as operations
from nilometer.flows.usage import batch as usage
from nilometer.flows.usage import metering
from nilometer.flows.usage.known import Known
from nilometer.lake.tables.columns import Coded, incoming
from nilometer.lake.write.rows import PackedColumns, packed_columns

LIKELY = {"turn": 0.4, "fault": 0.025, "outage": 0.0007}
HARD = 60  # of the meter `held`
STEPS = 60_000
TROUBLED = 500  # steps under faults
SKEWS = (0, 0, 0, -300, 250, -3)  # seconds by which a function's clock is off
READERS = {"records": "RecordsStream", "events": "EventsStream", "limits": "LimitsStream"}


class _RoutedRow(msgspec.Struct):
    """What the bus's rules ask of a changed record."""

    kind: str
    action: str


class _RoutedDetail(msgspec.Struct):
    id: str
    data: _RoutedRow


class CompanyDay:
    """One seed: the queues and streams between the flows, as template.yaml connects them."""

    def __init__(self, seed: int, chooser: Chooser) -> None:
        self.plant = Plant(chooser, faults=None, page=5)
        self.world = self.plant.world
        self.world.random_time = True
        self.dice = Random(seed)
        self.truth = deeds.DayTruth()
        self.stripe_world = deeds.stripe_world(seed % 6)
        self.stripe: Any = SimStripe(self.world, self.stripe_world)
        self.read: dict[str, int] = defaultdict(int)
        self.reading: Counter[str] = Counter()
        self.records: dict[int, Any] = {}
        self.given_up: list[Any] = []
        self.faulty = True
        self.audit: dict[str, Any] = {}
        self.announced: dict[str, Any] = {}
        """What the bus took, by id, besides changes of records."""
        self.rows: set[str] = set()
        self.packed: dict[str, list[PackedColumns]] = defaultdict(list)
        self.caches: dict[int, Known] = {}
        self._connect()

    def _connect(self) -> None:
        given: dict[str, Any] = {"store": self.plant.store, "objects": self.plant.objects}
        lake = {name: partial(self._append, name) for name in ("LakeUsage", "LakeStripeEvents", "LakeAudit")}
        handlers: dict[str, Any] = {
            "Usage": lambda m: usage.handle(m, now=self._clock(), known=self._cache(), **given),
            "Billing": lambda m: billing.handle(m, now=PLAYED_AT, **given),
            "Operations": self._operate,
            **lake,
        }
        self.queues = {name: SimQueue(self.world, name, handle) for name, handle in handlers.items()}
        bus: Any = SimEventBridge(self.world, self._route)
        clients: list[Any] = [SimSqs(self.world, self.queues[n].send) for n in ("LakeUsage", "LakeStripeEvents")]
        to = {USAGE.name: Queue(clients[0], url="u"), STRIPE_EVENTS.name: Queue(clients[1], url="s")}
        self.relay = partial(changes.relay, bus=Bus(bus, name="bus"), queues=to, objects=self.plant.objects, keys=KEYS)

    def _clock(self) -> Any:
        return self.world.now + timedelta(seconds=self.dice.choice(SKEWS) if self.faulty else 0)

    def _cache(self) -> Known:
        """Of one of three processes that live on, or of a new one."""
        place = self.dice.randrange(4)
        if place == 3 or place not in self.caches:
            self.caches[place] = self.plant.known()
        return self.caches[place]

    def _operate(self, messages: Sequence[Message]) -> list[Result]:
        """As the function sorts them: changes of records to the notices, the rest to the operations."""
        given: dict[str, Any] = {"store": self.plant.store, "objects": self.plant.objects, "now": self._clock()}
        told = [message for message in messages if notices.is_change(message)]
        done = {one.message_id: one for one in notices.handle(told, **given)}
        rest = [message for message in messages if message.id not in done]
        done |= {one.message_id: one for one in operations.handle(rest, **given)}
        return [done[message.id] for message in messages]

    def _append(self, queue: str, messages: Sequence[Message]) -> list[Result]:
        """A lake that drops what it has; the real one has scopes of its own. Packed rows become Arrow at the end."""
        for message in messages:
            if queue == "LakeAudit":
                row = msgspec.json.decode(message.body)["detail"]["data"]
                self.audit[row["change_id"]] = row
            else:
                packed = packed_columns(message.body)
                self.packed[packed.table.name].append(packed)
                if packed.table.name in {USAGE.name, STRIPE_EVENTS.name}:  # rows of the books travel with them
                    self.rows.update(filter(None, packed.values("event_id")))
        return [Result(message_id=message.id, outcome=Outcome.ACCEPTED, fields={}) for message in messages]

    def _route(self, entry: Any) -> None:
        """The bus's rules."""
        if entry["DetailType"] != RECORD_CHANGED:
            detail = msgspec.json.decode(entry["Detail"])
            known = self.announced.setdefault(detail["id"], detail)
            law(known == detail, f"{detail['id']} was announced with two contents")
            return
        detail = msgspec.json.decode(entry["Detail"], type=_RoutedDetail)
        body, row = enveloped(entry["Detail"], RECORD_CHANGED, id_=detail.id, source=entry["Source"]), detail.data
        self.queues["LakeAudit"].send(body)
        if row.kind in {"alert", "billing", "membership", "invitation"}:
            self.queues["Operations"].send(body)
        if row.kind in {"workspace", "billing"} and row.action == "INSERT":
            self.queues["Usage"].send(body)

    # ------------------------------------------------------------------ the course of the day

    def begin(self) -> None:
        """Everybody's deeds, each as a message or a task."""
        plant, send = self.plant, self.queues["Usage"].send
        deeds.publish_usage(self.dice, self.truth, send)
        deeds.publish_stripe(self.dice, self.stripe_world, self.queues["Billing"].send)
        deeds.reserve(self.dice, self.truth, plant, send)
        deeds.manage_people(self.dice, plant)
        for name, work in (
            ("refetch", lambda: refetch.refetch_due(plant.store, self.stripe, scope=StripeScope(), now=PLAYED_AT)),
            ("drain", self._drain),
            ("sweep", lambda: reserving.sweep(plant.store, now=self.world.now)),
        ):
            plant.repeat(name, work, until=NilometerError, times=3)
        late = partial(perform, plant.store, service("late", "test"), CreateWorkspace(name="L"), now=EARLY)
        plant.repeat("newcomer", late, until=NilometerError, times=200)

    def _drain(self) -> None:
        list(metering.drain(self.plant.known(), self.stripe, scope=StripeScope(), now=self.world.now))

    def run(self) -> None:
        """Under faults for a while, then until everything has settled."""
        self.world.calm = False
        for step in range(STEPS):
            if self.faulty and step > TROUBLED:
                self._end_faults()
            if self.world.tasks:
                self.world.step()
                if self.dice.random() < 0.15:
                    self._work()
            elif not self._work():
                break
        else:
            raise LawBroken("the day does not come to an end")
        self.world.calm = True

    def _end_faults(self) -> None:
        self.faulty = False
        self.world.budget = 0
        for queue in self.queues.values():
            queue.redrive()

    def _work(self) -> bool:
        """One poller finds something; False when nobody does any more."""
        ready: list[Any] = [queue for queue in self.queues.values() if queue.ready]
        ready += [name for name in READERS if not self.reading[name] and next(self._unread(name), None)]
        if ready:
            picked = self.dice.choice(ready)
            if isinstance(picked, str):
                self._read_stream(picked)
            else:
                picked.receive(self.dice, twins=0.08 if self.faulty else 0.0)
            return True
        if self.faulty and not self.world.tasks:
            self._end_faults()
            return True
        return bool(self.world.tasks)

    def _unread(self, name: str) -> Iterator[StreamChange]:
        table = Table.EVENTS if name == "events" else Table.RECORDS
        return (change for change in self.plant.tables.stream[self.read[name] :] if change.table == table)

    def _read_stream(self, name: str) -> None:
        """What is new, in two shards by partition; read on when both are done."""
        found = list(self._unread(name))
        self.read[name] = len(self.plant.tables.stream)
        for number in (0, 1):
            mine = [self._record(change) for change in found if len(change.key[0]) % 2 == number]
            if mine:
                handle = self._react if name == "limits" else partial(self.relay, now=self.world.now)
                shard = SimShard(self.world, f"{name} {number}/{self.read[name]}", handle, READERS[name])
                shard.given_up = self.given_up
                self.reading[name] += 1
                shard.read(mine, after=lambda: self.reading.subtract([name]))

    def _record(self, change: StreamChange) -> Any:
        """The same for both readers of a stream."""
        if change.number not in self.records:
            self.records[change.number] = record(change)
        return self.records[change.number]

    def _react(self, records: Sequence[Any]) -> list[Result]:
        return reactions.react(records, known=self.plant.known(), now=self.world.now)

    # ------------------------------------------------------------------ the laws

    def laws(self) -> None:
        """Of usage, limits, people, billing, the lake, notices, in whole pages; and that everything has settled."""
        self.plant.client.page = None
        for queue in self.queues.values():
            law(not queue.dead, f"{queue.name}: dead letters after the faults ended: {queue.failures[-1:]}")
        for parts in self.packed.values():
            _convert(parts)
        members.admins_hold(self.plant)
        self._counted()
        bad = wrong(self.plant.store, self.stripe_world)
        law(not bad, f"these differ from Stripe: {bad}")
        if not self.given_up:  # else they wait in the bucket for an operator
            self._relayed()
            announcements_add_up(self.announced, self.plant.store)
        notes = Counter((i["pk"], i.get("cause")) for i in self.plant.store.scan(Table.RECORDS, kind="notification"))
        law(not notes or max(notes.values()) == 1, f"somebody was told twice: {notes.most_common(1)}")
        self._reserved()

    def _counted(self) -> None:
        truth, store = self.truth, self.plant.store
        for workspace in ("a", "b", "late"):
            totals(self.plant, truth.totals[workspace], "m", workspace)
            totals(self.plant, sum(one[0] == workspace for one in truth.users), "users", workspace)
        facts = Counter(fact["event_id"] for fact in store.scan(Table.EVENTS, kind="usage_event"))
        law(set(facts) == truth.counted, f"facts differ: {set(facts) ^ truth.counted}")
        law(not list(store.scan(Table.EVENTS, kind="waiting_usage")), "usage still waits")
        refused = {item["event_id"] for item in store.scan(Table.EVENTS, kind="reject") if item["flow"] == "usage"}
        law(refused == truth.refused, f"rejects {refused}, true are {truth.refused}")

    def _reserved(self) -> None:
        used = counted(self.plant, "held")
        law(used == sum(self.truth.granted.values()) <= HARD, f"used {used}, granted {self.truth.granted} of {HARD}")
        reserving.sweep(self.plant.store, now=self.world.now + timedelta(hours=1))
        item = self.plant.store.get(Table.RECORDS, keys.allowance("a", "held", START), consistent=True)
        law(not item or item["reserved"] == 0, f"the allowance is {item}")

    def _relayed(self) -> None:
        """Each fact is a row; the newest image that the audit has of a record is the record."""
        wanted = self.truth.counted | {one["id"] for one in self.stripe_world.events}
        law(self.rows == wanted, f"the lake's rows differ: {self.rows ^ wanted}")
        newest: dict[Any, Any] = {}
        for row in sorted(self.audit.values(), key=lambda row: int(row["sequence_number"])):
            newest[row["pk"], row["sk"]] = row["new_image"]
        items = self.plant.tables.items[Table.RECORDS]
        changed = {change.key for change in self.plant.tables.stream if change.table == Table.RECORDS}
        for key in changed & items.keys():
            if key in newest and "version" in items[key].values and newest[key]:
                stored = int(items[key].values["version"]["N"])
                law(newest[key]["version"] == stored, f"{key} is not the audit's fold")


_NULL = msgspec.Raw(b"null")


def _cells(part: PackedColumns, name: str) -> list[Any]:
    values = part.columns[name]
    if values is None:
        return [None] * len(part)
    return values.values() if isinstance(values, Coded) else values


def _convert(parts: Sequence[PackedColumns]) -> None:
    """Every value becomes Arrow, as in the append: of one table, all messages in one go."""
    table, counts = parts[0].table, list(map(len, parts))
    columns: dict[str, list[Any]] = {}
    for column in incoming(table):
        found = [_cells(part, column.name) for part in parts]
        law([len(values) for values in found] == counts, f"a message has {column.name} for other rows than it has")
        joined = list(chain.from_iterable(found))
        columns[column.name] = [value or _NULL for value in joined] if column.type is Type.JSON else joined
    try:
        PackedColumns(table, columns).rows()
    except Rejected as error:
        raise LawBroken(f"a row for {table.name} is none: {error}") from error


_FILLED: list[SimTables] = []


def _fill(plant: Plant) -> None:
    """Meters, workspaces `a` and `b` (four shards), people, and a hard limit on `held`."""
    if not _FILLED:
        members.two_admins(plant)
        setup(plant, workspace=False)
        perform(plant.store, operator("test"), CreateMeter(meter="held", unit="u", aggregation="sum"), now=EARLY)
        perform(plant.store, service("b", "test"), CreateWorkspace(name="B"), now=EARLY)
        item = plant.store.get(Table.RECORDS, keys.workspace("b"))
        plant.store.commit([Put(table=Table.RECORDS, item={**(item or {}), "shards": 4})])
        limit(plant, HARD, meter="held")
        _FILLED.append(plant.tables.copy())
    plant.tables.fill(_FILLED[0])
    plant.tables.settle()
    plant.tables.stream.clear()


def day(
    seed: int,
    answers: Answers | None = None,
    lines: list[str] | None = None,
    taken: dict[str, int] | None = None,
) -> CompanyDay:
    """One day; raises `LawBroken`. With `answers` these troubles and no others; `lines` get the story, `taken` what
    was not calm."""
    chooser: Chooser = Seeded(seed, LIKELY) if answers is None else Replayed(answers)
    if taken is not None:
        chooser.taken = taken
    one = CompanyDay(seed, chooser)
    with one.world.installed(), plain_encoding():
        _fill(one.plant)
        one.world.story = lines
        one.begin()
        one.run()
        one.laws()
    return one
