"""The stack that a function is part of, as the console asks it: all from the function's own environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from nilometer.aws import logs
from nilometer.aws.clients import client
from nilometer.aws.dead_letters import DeadLetterQueue, invoke, places
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import AuditKeys
from nilometer.aws.sqs import Queue, waiting
from nilometer.console.events.feed import CloudLogs
from nilometer.console.place import Place, Timer
from nilometer.domain.lake.dataset import FOLDER
from nilometer.domain.recovery.dead_letter import DeadLetter, Failures, logged_failures
from nilometer.errors import Unavailable
from nilometer.flows.publish.usage import Event
from nilometer.flows.recovery.dead_letters import LetterBox, stream_batches
from nilometer.flows.recovery.refused import Lane, as_queued
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.tables.storage import storage_options
from nilometer.lambdas import variables

_FAILED = '{ ($.message = "*.failed") || ($.message = "*.waiting") }'  # the lines of `nilometer.lambdas`
_DEAD, _QUEUE = "DeadLetters", "Queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStack:
    """`boxes` are dead-letter queues with the queues that redrive to them; `logs` and `schedules` are physical names
    by logical ones, such as `BillingLogs`."""

    store: Store
    objects: Objects
    boxes: Sequence[DeadLetterQueue]
    urls: Mapping[str, str]
    logs: Mapping[str, str]
    schedules: Mapping[str, str]
    changes: str

    def status(self) -> dict[str, Any]:
        """As `nilometer status --stack`: the lag of the streams is CloudWatch's IteratorAge."""
        counts = {name: waiting(client("sqs"), url) for name, url in self.urls.items()}
        queues = {name: found for name, found in counts.items() if not name.endswith(_DEAD)}
        dead = {name: found["visible"] for name, found in counts.items() if name.endswith(_DEAD)}
        idle = not any(sum(found.values()) for found in queues.values())
        return {"queues": queues, "dead_letters": dead, "streams": {}, "idle": idle}

    def letter_boxes(self) -> list[LetterBox]:
        """All places with dead letters."""
        again = partial(invoke, client("lambda"))
        return [*self.boxes, *stream_batches(self.objects, again)]

    def reasons(self, box: LetterBox, letters: Sequence[DeadLetter]) -> Mapping[str, Failures]:
        """From the log of the function that reads the source."""
        group = next((group for name, group in self.logs.items() if box.name.startswith(name.removesuffix("Logs"))), "")
        if not group or box.source_url is None:
            return {}
        since = min(letter.sent_at for letter in letters)
        try:
            return logged_failures(logs.lines(client("logs"), group, pattern=_FAILED, since=since))
        except Unavailable:
            return {}

    def lane(self) -> Lane:
        """Where rejects are stored, and how they are sent again."""
        return Lane(store=self.store, objects=self.objects, now=datetime.now(UTC), send=self.send, relay=self._relay)

    def send(self, name: str, body: str) -> None:
        """To a queue by its name in the template."""
        queue = Queue(client("sqs"), url=self.urls[name])
        queue.send([body])

    def again(self, event: Event) -> None:
        """To the queue of usage alone: no other consumer of the bus gets it again."""
        self.send("UsageQueue", as_queued(event, now=datetime.now(UTC)))

    def _relay(self, batch: str) -> None:
        invoke(client("lambda"), self.changes, batch)

    def timers(self) -> Iterator[Timer]:
        """The schedules; when each last ran the logs say."""
        scheduler = client("scheduler")
        for name, physical in sorted(self.schedules.items()):
            found = scheduler.get_schedule(Name=physical.rpartition("|")[2])
            function = next(one for one in self.logs if one.removesuffix("Logs") in found["Target"]["Arn"])
            yield Timer(
                name=name,
                expression=found["ScheduleExpression"],
                function=function.replace("Logs", "Function"),
            )


def place() -> Place:
    """Read once a process. No sample events, and no checks: they take longer than API Gateway waits."""
    name, lake_uri, bucket, audit_key = variables("STACK_NAME", "LAKE_URI", "LAKE_BUCKET", "AUDIT_KEY_ARN")
    objects, options = Objects(client("s3"), bucket=bucket), storage_options(os.environ)
    keys = AuditKeys.stored(client("secretsmanager"), arn=audit_key).current()
    own = _own(objects)
    folder = f"{lake_uri.removeprefix(f's3://{bucket}/')}/{FOLDER}/"
    return Place(
        name=name,
        where="AWS",
        store=own.store,
        objects=objects,
        ledger=Ledger(lake_uri=lake_uri, storage_options=options, proof_keys=keys),
        lake={"lake_uri": lake_uri, "storage_options": options},
        feed=CloudLogs(client("logs"), list(own.logs.values())),
        status=own.status,
        boxes=own.letter_boxes,
        reasons=own.reasons,
        lane=own.lane,
        datasets=lambda: objects.folders(folder),
        timers=lambda: list(own.timers()),
        again=own.again,
    )


def _own(objects: Objects) -> OwnStack:
    records, events, letters = variables("RECORDS_TABLE", "EVENTS_TABLE", "DEAD_LETTERS")
    groups, schedules, changes = variables("LOG_GROUPS", "SCHEDULES", "CHANGES_FUNCTION")
    boxes, urls = [], dict[str, str]()
    for name, url, source in places(letters):
        boxes.append(DeadLetterQueue(client("sqs"), name=name, url=url, source_url=source))
        urls |= {name: url} | ({name.replace(_DEAD, _QUEUE): source} if source else {})
    return OwnStack(
        store=Store(client("dynamodb"), records=records, events=events),
        objects=objects,
        boxes=boxes,
        urls=urls,
        logs=_pairs(groups),
        schedules=_pairs(schedules),
        changes=changes,
    )


def _pairs(text: str) -> dict[str, str]:
    """`name,physical` separated by spaces."""
    return dict(one.split(",", 1) for one in text.split())
