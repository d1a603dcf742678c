"""Scopes of the way into the lake: every change once, whoever dies between the table and the commit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.support.lake.build import KEYS
from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.events import RECORD_CHANGED, envelope
from tests.support.simulation.scopes.limits import reservations
from tests.support.simulation.scopes.usage.counting import event, law, setup
from tests.support.simulation.services.messages import SimEventBridge, SimSqs
from tests.support.simulation.services.streams import SimShard, record

from nilometer.aws.eventbridge import Bus
from nilometer.aws.sqs import Queue
from nilometer.domain.events.outcome import Message
from nilometer.domain.lake.tables import STRIPE_EVENTS, USAGE
from nilometer.domain.store.writes import Put, Table
from nilometer.flows.inbox.settle import PATIENCE
from nilometer.flows.lake import changes
from nilometer.flows.limits import reactions
from nilometer.flows.usage import batch as usage
from nilometer.lake.write.rows import decode_packed

# ---------------------------------------------------------------------- the relay


def with_changes(plant: Plant) -> None:
    """Facts, counters, a void, a reject and a record that is gone wait in the streams."""
    setup(plant)
    bodies = [event("e1", "3"), event("e2", "5"), event("b1", "-1")]
    messages = [Message(str(n), envelope(one)) for n, one in enumerate(bodies)]
    usage.handle(messages, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    gone = {"pk": "FLAG#x", "sk": "FLAG", "kind": "flag", "version": 1, "expires_at": 1}
    plant.store.commit([Put(table=Table.RECORDS, item=gone)])
    plant.tables.expire(2)
    broken = {"pk": "STRIPE#self#evt_x", "sk": "FACT", "kind": "stripe_event", "version": 1, "payload": b"no JSON"}
    plant.store.commit([Put(table=Table.EVENTS, item=broken)])


def relayed(plant: Plant) -> Callable[[], None]:
    """Both streams, each by its function, to the bus and the queue of usage."""
    bus, queue = SimEventBridge(plant.world), SimSqs(plant.world)
    plant.world.stores += [bus, queue]
    clients: Any = (bus, queue)
    queues = {USAGE.name: Queue(clients[1], url="usage"), STRIPE_EVENTS.name: Queue(clients[1], url="stripe")}
    to = {"bus": Bus(clients[0], name="bus"), "queues": queues, "objects": plant.objects}
    later = NOW + PATIENCE  # what cannot be read is passed over by then
    handle = partial(changes.relay, **to, keys=KEYS, now=later)
    shards = []
    for table, mapping in ((Table.RECORDS, "RecordsStream"), (Table.EVENTS, "EventsStream")):
        mine = [record(change) for change in plant.tables.stream if change.table == table][-4:]
        shard = SimShard(plant.world, mapping, handle, mapping)
        shard.read(mine)
        shards.append((shard, mine))

    def laws() -> None:
        told = [json.loads(entry["Detail"]) for entry in bus.taken]
        audit = [row["data"] for row in told if row["type"] == RECORD_CHANGED]
        numbers = {int(row["sequence_number"]) for row in audit if row["kind"] != "reject"}
        wanted = {int(one["dynamodb"]["SequenceNumber"]) for one in shards[0][1]}
        law(numbers == wanted, f"the audit lacks {wanted - numbers} or invents {numbers - wanted}")
        ids = Counter(row["change_id"] for row in audit)
        law(len(ids) == len({json.dumps(row, sort_keys=True) for row in audit}), "a copy of a change differs")
        usage_rows = {id_ for body in queue.taken for id_ in decode_packed(body)[1].event_ids}
        law(usage_rows == {"e1", "e2"}, f"rows of usage {usage_rows}")
        law(not any(shard.given_up for shard, _ in shards), "records were given up")
        kept = [key for key in plant.s3.kept if key.startswith(changes.REJECTS)]
        law(len(kept) == 1, f"{len(kept)} records that cannot be read are kept")

    return laws


def reacted(plant: Plant) -> Callable[[], None]:
    """The second reader of the records' stream: alerts of a crossing that the counter's change tells of."""
    counters = [change for change in plant.tables.stream if change.key[1].startswith("USAGE#")]
    handle = lambda records: reactions.react(records, known=plant.known(), now=NOW)  # noqa: E731  # short
    shards = [SimShard(plant.world, f"reader {number}", handle, "LimitsStream") for number in (1, 2)]
    for shard in shards:
        shard.read([record(change) for change in counters])

    def laws() -> None:
        alerts = sorted(item["sk"].split("#")[3] for item in plant.store.scan(Table.RECORDS, kind="alert"))
        law(len(alerts) == len(set(alerts)) > 0, f"alerts {alerts}")

    return laws


def crossed(plant: Plant) -> None:
    """Nine of ten are used, and nobody was told."""
    reservations.limited(plant)
    first = [Message("1", envelope(event("e1", "9")))]
    usage.handle(first, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())


# ---------------------------------------------------------------------- the lake's writers, on real Delta tables


SCOPES = (
    Scope("both streams to the bus and the queues", relayed, with_changes),
    Scope("two readers of a counter's change", reacted, crossed),
)
