"""The law of isolation for the readers of the streams: whatever a record holds, those beside it are relayed."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.events.hostile import ENCODED, HOSTILE, fields, named, placed
from tests.support.flows.changes import CREATED, billing, record, stripe_fact, usage_fact
from tests.support.flows.usage import prepare
from tests.support.lake.build import KEYS, NOW
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer.domain.events.outcome import Outcome, Result
from nilometer.domain.store.times import from_epoch
from nilometer.errors import Unavailable
from nilometer.flows.lake import changes
from nilometer.flows.limits.reactions import react
from nilometer.flows.usage.known import Known

BATCH = 200
COUNTER = {
    "pk": "WORKSPACE#ws_acme",
    "sk": "COUNTER#api_calls",
    "kind": "counter",
    "version": 3,
    "workspace_id": "ws_acme",
    "meter": "api_calls",
    "scope": "period",
    "period_start": "2026-11-01T00:00:00.000Z",
    "total": 7,
    "cause": "e1",
}
SAMPLES = [
    record(stripe_fact()),
    record(usage_fact()),
    record(COUNTER, COUNTER | {"total": 5, "version": 2}),
    record(billing(plan="team", limits={"api_calls": 5}, customers=["self/live/cus_1"]), billing()),
]


REFUSED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # SQS API Reference, "SendMessage"


class Sent:
    """In the place of the bus and the queues; both refuse what SQS does, for queues stand behind the bus."""

    def __init__(self) -> None:
        self.text = ""

    def send(self, bodies: Sequence[str]) -> None:
        if any(map(REFUSED.search, bodies)):
            raise Unavailable("SQS takes none of it")
        self.text += "".join(bodies)

    def publish(self, entries: Sequence[Any]) -> None:
        self.send([entry.detail for entry in entries])


def odd_records() -> Iterator[tuple[str, Any]]:
    """Of each sample each field with a part of the values."""
    for sample in SAMPLES:
        places = list(fields(sample))
        for place, value in itertools.islice(itertools.product(places, ENCODED), 0, None, 7):
            yield f"{value} at {named(place)}", json.loads(placed(sample, place, HOSTILE[value]))


def good(number: int) -> dict[str, Any]:
    return record(usage_fact(f"good-{number}-"), sequence=f"9{number}")


def relayed(records: Sequence[Any], sent: Any, *, now: Any = NOW) -> list[Result]:
    objects: Any = MemoryObjects()
    queues = {"stripe_events": sent, "usage": sent}
    return changes.relay(records, bus=sent, queues=queues, objects=objects, keys=KEYS, now=now)


def test_no_record_is_in_the_way_of_those_beside_it() -> None:
    """In batches of 200 each good one is sent, in order, and the odd one is sent, passed over or kept."""
    odd, wrong = list(odd_records()), []
    for start in range(0, len(odd), BATCH // 2):
        together = odd[start : start + BATCH // 2]
        sent: Any = Sent()
        results = relayed([one for n, (_, strange) in enumerate(together) for one in (good(n), strange)], sent)
        assert len(results) == 2 * len(together)
        for number, (what, _) in enumerate(together):
            neighbour, own = results[2 * number : 2 * number + 2]
            if neighbour.outcome is not Outcome.ACCEPTED or f"good-{number}-" not in sent.text:
                wrong.append(f"the neighbour of {what}")
            if own.outcome is Outcome.FAILED:
                wrong.append(f"{what}: {dict(own.fields)}")
    assert len(odd) > 500
    assert wrong == []


def test_no_record_stops_what_limits_react_to() -> None:
    """The second reader of the stream passes over what it cannot read, and looks at the workspaces beside it."""
    store: Any = MemoryStore()
    prepare(store)
    beside = record(COUNTER | {"cause": "beside"}, COUNTER)
    for what, strange in odd_records():
        results = react([beside, strange, beside], known=Known(store), now=NOW)
        assert [one.fields.get("event_id") for one in (results[0], results[2])] == ["beside"] * 2, what
        assert Outcome.FAILED not in {one.outcome for one in results}, what


def test_what_a_bad_version_stumbles_over_waits_for_the_next() -> None:
    """A record of this minute comes again; without a number or a time it could not be named or would wait for ever."""
    young = from_epoch(CREATED + 60)
    broken = record(usage_fact())
    broken["dynamodb"]["NewImage"]["quantity"] = {"N": "none"}
    unnamed = json.loads(json.dumps(broken))
    del unnamed["dynamodb"]["SequenceNumber"]
    store: Any = MemoryStore()

    for results in (
        relayed([good(1), broken, unnamed], Sent(), now=young),
        react(
            [record(COUNTER), broken | {"dynamodb": broken["dynamodb"] | {"NewImage": {"kind": 7}}}, unnamed][:3],
            known=Known(store),
            now=young,
        ),
    ):
        assert results[1].outcome is Outcome.FAILED
        assert results[1].message_id == "17"
        assert results[2].outcome is not Outcome.FAILED


class Away(MemoryStore):
    """A store whose network is away, with an error of the system and not of AWS."""

    def batch_get(self, *_args: Any, **_given: Any) -> Any:
        """Never answers."""
        raise ConnectionResetError


def test_an_outage_costs_no_alert_however_long_it_lasts() -> None:
    """Each record that meets an absent store is delivered again, also one that is older than our patience."""
    away: Any = Away()
    [result] = react([record(COUNTER)], known=Known(away), now=NOW)
    assert result.outcome is Outcome.FAILED
    assert result.fields["reason"] == "ConnectionResetError"
