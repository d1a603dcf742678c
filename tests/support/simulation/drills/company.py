"""A company over all flows while a service is in trouble, in played time; nobody does anything until all has settled.

Queues, streams, batches, time-outs and receives are those of template.yaml, the code is that of the functions.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from tests.support.lake.build import KEY
from tests.support.simulation.drills.outages import FUNCTIONS, QUEUES, SERVICES, DrillState, Outage, TroubledService
from tests.support.simulation.drills.producers import SECRET, DrillPlan
from tests.support.simulation.drills.queues import DEAD, SimQueues, TimedQueue
from tests.support.simulation.drills.receiver import WebhookReceiver
from tests.support.simulation.drills.secrets import SimSecret
from tests.support.simulation.drills.streams import TimedStreams
from tests.support.simulation.kernel.choices import Replayed
from tests.support.simulation.kernel.scope import Plant, plain_encoding
from tests.support.simulation.kernel.world import ProcessDied
from tests.support.simulation.scopes.events import RECORD_CHANGED, envelope
from tests.support.simulation.scopes.lake.tables import DeltaFolder
from tests.support.simulation.scopes.usage.counting import law
from tests.support.simulation.services.messages import SimEventBridge
from tests.support.simulation.services.stripe import SimStripe
from tests.support.simulation.services.template import queues as queue_sources
from tests.support.simulation.services.template import timeouts

from nilometer.aws.dead_letters import DeadLetterQueue
from nilometer.aws.eventbridge import Bus
from nilometer.aws.landing import Landing
from nilometer.aws.secrets import AuditKeys, SigningSecrets, StripeKey
from nilometer.aws.sqs import Queue
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS, USAGE
from nilometer.domain.notices.webhook import WEBHOOK_TYPES
from nilometer.domain.stripe.event import Scope as StripeScope
from nilometer.errors import NilometerError
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing import catalog, refetch, webhook
from nilometer.flows.inbox.envelope import CHANGES
from nilometer.flows.lake import append, changes, datasets
from nilometer.flows.limits import reactions, reserving
from nilometer.flows.notices import batch as notices
from nilometer.flows.operations import batch as operations
from nilometer.flows.recovery.dead_letters import redrive_due
from nilometer.flows.usage import batch as usage
from nilometer.flows.usage import metering

LONGEST = timedelta(days=3)
POLL_SECONDS = 20
DELIVERY_SECONDS = 60
"""EventBridge delivers again for a day, later each time; a minute at the most is ours."""


class CompanyDrill:
    """One outage. `run` ends when all has settled, and raises `LawBroken` when that takes more than three days."""

    def __init__(self, outage: Outage, seed: int = 0) -> None:
        self.plant = Plant(Replayed({}), faults=0, page=50)
        self.world = self.plant.world
        self.world.random_time = True
        self.state = DrillState(self.world, outage, Random(seed))
        self.outage = outage
        self.services: Any = {name: TroubledService(self.state, name) for name in SERVICES}
        self.queues = {name: TimedQueue(name) for name in (*QUEUES, *(DEAD + name for name in QUEUES))}
        self.agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self.due: set[str] = set()
        self.on_the_way = 0
        self.turn = itertools.count()
        self.folder = DeltaFolder(self.world)
        self.folder.world = self.services["bucket"]
        self.streams = TimedStreams(self.plant.tables, self.world, self._read, self.later)
        self.plan = DrillPlan(self.plant, outage)
        self.plant.client.world = self.services["tables"]
        self.plant.s3.world = self.services["bucket"]
        self.receiver = WebhookReceiver()
        self._connect()

    # ------------------------------------------------------------------ what runs where

    def _connect(self) -> None:
        sqs: Any = SimQueues(self.queues, self.services, self._look)
        bus: Any = SimEventBridge(self.services["bus"], self._route)
        self.stripe: Any = SimStripe(self.services["Stripe"], self.plan.stripe)
        self.bus = Bus(bus, name="bus")
        self.to = {
            USAGE.name: Queue(sqs, url="LakeUsage"),
            STRIPE_EVENTS.name: Queue(sqs, url="LakeStripeEvents"),
            AUDIT.name: Queue(sqs, url="LakeAudit"),
        }
        self.hooks = Queue(sqs, url="Hooks")
        self.dead = [DeadLetterQueue(sqs, name=name, url=DEAD + name, source_url=name) for name in QUEUES]
        self.handlers: dict[str, tuple[str, Callable[[Sequence[Message]], list[Result]]]] = {
            "Usage": ("Usage", lambda m: usage.handle(m, known=self.plant.known(), **self._given)),
            "Billing": ("Billing", lambda m: billing.handle(m, **self._given)),
            "Operations": ("Operations", self._operate),
            "Datasets": ("Datasets", self._land),
            "Hooks": ("Hooks", self._post),
            **{name: ("Lake", self._append) for name in QUEUES if name.startswith("Lake")},
        }

    @property
    def _given(self) -> dict[str, Any]:
        return {"store": self.plant.store, "objects": self.plant.objects, "now": self.world.now}

    @property
    def _lake(self) -> dict[str, Any]:
        until = {"deadline": self.world.monotonic() + 90, "monotonic": self.world.monotonic}
        return {"lake": self.folder.lake, "now": self.world.now, **until}

    def _operate(self, messages: Sequence[Message]) -> list[Result]:
        told = [message for message in messages if notices.is_change(message)]
        done = {one.message_id: one for one in notices.handle(told, **self._given)}
        rest = [message for message in messages if message.id not in done]
        done |= {one.message_id: one for one in operations.handle(rest, **self._given)}
        return [done[message.id] for message in messages]

    def _append(self, messages: Sequence[Message]) -> list[Result]:
        return append.append(messages, objects=self.plant.objects, keys=self._keys(), **self._lake)

    def _land(self, messages: Sequence[Message]) -> list[Result]:
        bucket: Any = self.plant.s3
        landing = Landing(bucket, bucket="bucket")
        return datasets.land(
            messages, store=self.plant.store, objects=self.plant.objects, landing=landing, **self._lake
        )

    def _post(self, messages: Sequence[Message]) -> list[Result]:
        given = {"store": self.plant.store, "queue": self.hooks, "objects": self.plant.objects}
        return self.receiver.handle(messages, keys=self._keys(), world=self.world, **given)

    def _keys(self) -> AuditKeys:
        """Of a process that has just begun."""
        return AuditKeys.stored(self._secret(KEY), arn="audit")

    def _secret(self, value: str) -> Any:
        return SimSecret(self.services["secrets"], value)

    # ------------------------------------------------------------------ functions

    def _call(self, function: str, work: Callable[[], Any]) -> Any:
        """None when the call failed or was killed; the clock of whoever called stands still."""
        begun = self.world.now
        self.state.deadline = begun + timedelta(seconds=timeouts()[function])
        try:
            if self.outage.hits(FUNCTIONS, begun):
                self.state.hits += 1
                return None
            return work()
        except (NilometerError, ProcessDied):
            return None
        finally:
            self.state.deadline = None
            self.world.now = begun

    # ------------------------------------------------------------------ the bus and the queues

    def _route(self, entry: Any) -> None:
        """The rules of the template."""
        detail = json.loads(entry["Detail"])
        type_, time = str(detail["type"]), self.world.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        body = envelope(detail, source=entry["Source"], time=time)
        if entry["Source"] == webhook.SOURCE:
            targets = ["Billing"]
        elif type_ == RECORD_CHANGED:
            kind, new = detail["data"]["kind"], detail["data"]["action"] == "INSERT"
            targets = ["LakeAudit"]
            targets += ["Operations"] if kind in {"alert", "billing", "membership", "invitation"} else []
            targets += ["Usage"] if kind in {"workspace", "billing"} and new else []
        elif entry["Source"].startswith("nilometer."):
            hooks = entry["Source"] == CHANGES and type_ in WEBHOOK_TYPES
            targets = ["Hooks"] if hooks else []  # the rest is for services
            if hooks:
                self.receiver.expect(detail)
        else:
            known = {"usage": "Usage", "dataset": "Datasets" if type_.startswith("dataset.batch") else "Operations"}
            targets = [known.get(type_.split(".", maxsplit=1)[0], "Operations")]
        for target in targets:
            self._deliver(target, body)

    def _deliver(self, queue: str, body: str) -> None:
        if self.state.fails(f"queue {queue}"):
            self.later(DELIVERY_SECONDS, lambda: self._deliver(queue, body), counts=True)
        else:
            self.queues[queue].put(body, self.world.now)
            self._look(queue)

    def _look(self, queue: str) -> None:
        """A poller looks when its window is over."""
        if queue in queue_sources() and queue not in self.due:
            self.due.add(queue)
            self.later(max(queue_sources()[queue].window, 1), lambda: self._poll(queue))

    def _poll(self, name: str) -> None:
        self.due.discard(name)
        queue, source, now = self.queues[name], queue_sources()[name], self.world.now
        if self.state.fails(f"queue {name}"):
            self.due.add(name)
            self.later(POLL_SECONDS, lambda: self._poll(name))
            return
        for one in [one for one in queue.visible(now) if one.receives >= source.receives]:
            queue.messages.remove(one)
            self.queues[DEAD + name].messages.append(one)
        batch = queue.visible(now)[: source.batch]
        for one in batch:
            one.receives += 1
            one.visible_at = now + timedelta(seconds=source.visibility)
        if batch:
            self._handle(name, batch)
        if queue.messages:
            self.due.add(name)
            self.at(max(min(one.visible_at for one in queue.messages), now), lambda: self._poll(name))

    def _handle(self, name: str, batch: list[Any]) -> None:
        function, handle = self.handlers[name]
        messages = [Message(one.id, one.body) for one in batch]
        results: list[Result] | None = self._call(function, lambda: handle(messages))
        if results is None or self.state.fails(f"queue {name}"):
            return  # what is not deleted comes again
        done = {one.message_id for one in results if one.outcome is not Outcome.FAILED}
        self.queues[name].messages = [one for one in self.queues[name].messages if one.id not in done]

    def _read(self, stream: str, records: list[Any]) -> list[Result] | None:
        """Of a reader of a stream, what its function answers."""
        if stream == "LimitsStream":
            return self._call("Limits", lambda: reactions.react(records, known=self.plant.known(), now=self.world.now))
        return self._call("Changes", lambda: self._relay(records))

    def _relay(self, records: list[Any]) -> list[Result]:
        given: dict[str, Any] = {"bus": self.bus, "queues": self.to, "objects": self.plant.objects}
        return changes.relay(records, **given, keys=self._keys(), now=self.world.now)

    # ------------------------------------------------------------------ schedules

    def _schedules(self) -> None:
        """As the template has them: minutes, and what is called."""
        self._every(1, "Reconcile", self._refetch)
        self._every(5, "Limits", lambda: reserving.sweep(self.plant.store, now=self.world.now))
        self._every(15, "Redrive", self._redrive)
        self._every(60, "Reconcile", self._drain, first=25)

    def _every(self, minutes: int, function: str, work: Callable[[], Any], *, first: int | None = None) -> None:
        def again() -> None:
            self._call(function, work)
            self.later(minutes * 60, again)

        self.later((first or minutes) * 60, again)

    def _refetch(self) -> None:
        StripeKey(self._secret("sk_test_of_the_drill"), arn="key").current()
        catalog.resume(self.plant.store, now=self.world.now, out_of_time=lambda: False)
        refetch.refetch_due(self.plant.store, self.stripe, scope=StripeScope(), now=self.world.now)

    def _drain(self) -> None:
        StripeKey(self._secret("sk_test_of_the_drill"), arn="key").current()
        list(metering.drain(self.plant.known(), self.stripe, scope=StripeScope(), now=self.world.now))

    def _redrive(self) -> None:
        list(redrive_due(self.dead, now=self.world.now, out_of_time=lambda: False))

    # ------------------------------------------------------------------ from outside

    def receive(self, body: bytes, sign: Callable[[datetime], str], waits: Sequence[int]) -> None:
        """Stripe's webhook; it sends again after each of `waits` seconds until it is answered 200."""
        secrets = SigningSecrets(self._secret(SECRET), arn="signing")
        given: dict[str, Any] = {"secrets": secrets, "bus": self.bus, "objects": self.plant.objects}
        work = partial(webhook.receive, body, sign(self.world.now), now=self.world.now, **given)
        if self._call("Webhook", work) is None:
            law(bool(waits), "Stripe gave a webhook up")
            self.later(waits[0], lambda: self.receive(body, sign, waits[1:]), counts=True)

    def publish(self, work: Callable[[Bus], Any]) -> None:
        """A service, which tries again a minute later when it is told that the bus did not take it."""
        begun = self.world.now
        try:
            work(self.bus)
        except NilometerError:
            self.world.now = begun
            self.later(60, lambda: self.publish(work), counts=True)
        self.world.now = begun

    # ------------------------------------------------------------------ the course

    def later(self, seconds: float, work: Callable[[], None], *, counts: bool = False) -> None:
        """`counts`: nothing has settled before it is done."""
        self.at(self.world.now + timedelta(seconds=seconds), work, counts=counts)

    def at(self, when: datetime, work: Callable[[], None], *, counts: bool = False) -> None:
        self.on_the_way += counts

        def counted() -> None:
            self.on_the_way -= counts
            work()

        heapq.heappush(self.agenda, (when, next(self.turn), counted))

    def run(self) -> timedelta:
        """How long after its end the outage was healed: all is in the lake, and Stripe has every meter event."""
        with self.world.installed(), plain_encoding(), self.folder.steps(), self.receiver.installed():
            self.plant.steps.begin()
            self.plan.begin(self)
            self._schedules()
            settled: datetime | None = None
            while True:
                self.world.now, _, work = heapq.heappop(self.agenda)
                law(self.world.now < self.outage.ends + LONGEST, f"not healed: {self.left()}")
                work()
                self.plant.steps.check()
                self.streams.follow()
                if self.world.now > self.plan.ends and not self.left():
                    settled = settled or self.world.now
                    if not list(metering.outbox(self.plant.store)):
                        break
            self.plan.laws(self)
            return max(settled - self.outage.ends, timedelta(0))

    def left(self) -> dict[str, int]:
        """What has not settled yet."""
        found = {name: len(queue.messages) for name, queue in self.queues.items() if queue.messages}
        return found | self.streams.behind() | ({"on the way": self.on_the_way} if self.on_the_way else {})
