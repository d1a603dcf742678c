"""What was refused: listed over all flows, sent again through the entrance that it came by, or marked as done.

What if the process dies between sending and marking? It is listed still and may be sent again: every flow drops what
it has taken before. A resend that is refused again is the same reject, listed again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.waiting import Waiting
from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS
from nilometer.domain.recovery import refused
from nilometer.domain.recovery.refused import IN_BUCKET, IN_TABLE, KeptReject
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Table
from nilometer.errors import Rejected
from nilometer.flows.inbox.rejects import listed
from nilometer.flows.inbox.waits import listed_waits
from nilometer.flows.usage.waiting import listed_usage

SOURCE = "nilometer.resend"
LONGEST_KEPT = timedelta(days=90)
"""How long the longest kept reject can be found."""
_QUEUES = {
    "billing": "BillingQueue",
    "usage": "UsageQueue",
    "operations": "OperationsQueue",
    "notices": "OperationsQueue",
    "datasets": "DatasetsQueue",
}
_LAKE = {AUDIT.name: "LakeAuditQueue", STRIPE_EVENTS.name: "LakeStripeEventsQueue"}
_LAKE_OTHERWISE = "LakeUsageQueue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Places of rejects. `send` gives a body to a queue by its name in the template, `relay` a record to the function
    that reads the tables' streams; both raise unless it was taken."""

    store: Store
    objects: Objects
    now: datetime
    send: Callable[[str, str], None]
    relay: Callable[[str], None]

    def all(self, flows: Iterable[str], *, since: datetime, settled: bool = False) -> list[KeptReject]:
        """The newest first; with `settled` also those that were resent or dismissed after they were refused."""
        found = [one for flow in flows for one in self._of(flow, since) if settled or one.settled is None]
        return sorted(found, key=lambda one: one.at, reverse=True)

    def payload(self, one: KeptReject) -> str:
        """As it arrived; `Rejected("claim_broken")` when the bucket does not have it any more."""
        return one.payload if one.payload is not None else self.objects.get(str(one.claim)).decode()

    def resend(self, one: KeptReject, *, actor: str) -> None:
        """Sends it the same way that it came, so that no other consumer gets it again; then marks it."""
        payload = self.payload(one)
        if one.flow == "changes":
            self.relay(payload)
        elif one.flow == "lake":
            self.send(_lake_queue(payload), payload)
        else:
            self.send(_QUEUES[one.flow], enveloped(payload, now=self.now))
        self._mark(one, "resent", actor)

    def dismiss(self, one: KeptReject, *, actor: str) -> None:
        """Marks it as done: it is kept, and not listed any more."""
        self._mark(one, "dismissed", actor)

    def _mark(self, one: KeptReject, what: str, actor: str) -> None:
        self.store.commit([refused.mark(one, what, actor=actor, now=self.now)])

    def _of(self, flow: str, since: datetime) -> Iterator[KeptReject]:
        marks = {mark["sk"]: mark for mark in self.store.query(Table.EVENTS, f"REJECTMARK#{flow}", consistent=True)}
        for one in self._kept(flow, since):
            mark = marks.get(one.id)
            yield replace(one, settled=mark["what"]) if mark and refused.is_settled(mark, one.at) else one

    def _kept(self, flow: str, since: datetime) -> Iterator[KeptReject]:
        if flow in IN_TABLE:
            yield from map(refused.of_item, listed(self.store, flow, since=since, now=self.now))
        elif flow in IN_BUCKET:
            for key, written in self.objects.listed(f"rejects/{flow}/"):
                at = refused.kept_at(written)
                if at >= since and (one := self._file(flow, key, at)):
                    yield one

    def _file(self, flow: str, key: str, at: datetime) -> KeptReject | None:
        """`None` for what is no reject: a large payload that is stored there for a reject of the table, or what was
        taken away since it was listed."""
        kept = _json(self.objects.read(key) or b"")
        name, said = key.rpartition("/")[2], {field: text for field, text in kept.items() if isinstance(text, str)}
        if isinstance(kept.get("record"), dict):
            payload = json.dumps({"Records": [kept["record"]]})
            return refused.of_file(flow, name, {"reason": said.get("reason")}, at=at, payload=payload)
        return refused.of_file(flow, name, said, at=at, payload=said["content"]) if "content" in said else None


def waiting(store: Store, *, now: datetime) -> list[Waiting]:
    """What is not refused yet, in any flow: it lacks something that may arrive later. The one that waits longest
    first. What was accepted or refused meanwhile is left out, as far as a fact or a reject says so."""
    found = [one for flow in IN_TABLE for one in listed_waits(store, flow, now=now)]
    done = _settled(store, found, now)
    return sorted([*(one for one in found if _name(one) not in done), *listed_usage(store, now=now)], key=_since)


def _settled(store: Store, found: Sequence[Waiting], now: datetime) -> set[tuple[str, ...]]:
    facts = {keys.operation(one.source, one.event_id): one for one in found if one.source and one.event_id}
    stored = store.batch_get(Table.EVENTS, facts, attributes=("version",)) if facts else {}
    kept = ((flow, one) for flow in {one.flow for one in found} for one in listed(store, flow, since=now, now=now))
    refused = {(flow, str(one.get("source")), str(one.get("event_id"))) for flow, one in kept}
    return {_name(facts[key]) for key in stored} | refused


def _name(one: Waiting) -> tuple[str, ...]:
    return one.flow, str(one.source), str(one.event_id)


def _since(one: Waiting) -> datetime:
    return one.since


def enveloped(payload: str, *, now: datetime) -> str:
    """What a queue takes: the payload itself when the bus brought it so, else the event in an envelope of ours."""
    event = _json(payload.encode(errors="replace"))
    if not event or isinstance(event.get("detail"), dict):
        return payload
    envelope = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": str(event.get("type")),
        "source": SOURCE,
        "time": rfc3339(now),
        "detail": None,
    }
    return json.dumps(envelope)[: -len("null}")] + payload + "}"  # not a digit of it is rewritten


def as_queued(event: Mapping[str, Any], *, now: datetime) -> str:
    """A CloudEvent as the bus would bring it to a queue."""
    return enveloped(json.dumps(event, default=str), now=now)


def one_of(found: Iterable[KeptReject], wanted: str) -> KeptReject:
    """The reject whose id begins with `wanted`; `Rejected` when there is none, or more than one."""
    meant = [one for one in found if one.id.startswith(wanted)]
    if len({(one.flow, one.id) for one in meant}) != 1:
        how_many = f"{len(meant)} rejects have" if meant else "no reject has"
        raise Rejected("not_found", f"{how_many} an id that begins with {wanted}; see nilometer rejects list --all")
    return meant[0]


def _lake_queue(payload: str) -> str:
    return _LAKE.get(str(_json(payload.encode(errors="replace")).get("table")), _LAKE_OTHERWISE)


def _json(content: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
