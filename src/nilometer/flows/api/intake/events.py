"""`POST /v1/events`: usage as CloudEvents, one or many, each answered for itself.

`accepted` means durably queued: the bus has taken it, and it will be counted once, or kept as a reject with its reason.
`duplicate` is a copy within the request; a copy of an earlier request is accepted again and counts nothing. What if the
answer is lost? Send the same events again.

A usage event is known by its source and id. So that no workspace can take another one's ids, the source of what a key
of a workspace sends is `workspace_source` or begins with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from nilometer.domain.access.scopes import USAGE_RECORD
from nilometer.domain.store.writes import Key
from nilometer.domain.usage.event import BATCH, UsageEvent, check_meter, is_source_of, workspace_source
from nilometer.domain.usage.void import VoidEvent
from nilometer.errors import Rejected
from nilometer.flows.api.problem import ApiProblem
from nilometer.flows.api.route import ApiCall, ApiRoute
from nilometer.flows.api.shapes import EventAnswer, EventsAnswer
from nilometer.flows.inbox.envelope import check_depth
from nilometer.flows.publish.usage import publish
from nilometer.flows.usage.events import UsageArrival, parse

SENDER = "nilometer.api"
EVENTS = 1000
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


def record(call: ApiCall) -> EventsAnswer:
    """The answers in the order of the events."""
    arrivals = [_arrival(raw, call) for raw in _elements(call.request.body)]
    _check_meters(arrivals, call)
    answers, events = [], []
    seen: dict[Key, str] = {}
    for raw, arrival in arrivals:
        answer = _answered(arrival, call, seen)
        answers.append(answer)
        if answer.status == "accepted":
            events.append(msgspec.json.decode(raw))
    publish(call.means.bus, events, sender=SENDER)
    return EventsAnswer(len(events), answers)


def _elements(body: bytes) -> list[msgspec.Raw]:
    check_depth(body)
    try:
        found = _LIST.decode(body) if body.lstrip()[:1] == b"[" else [msgspec.Raw(body)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ApiProblem(400, "invalid_json", f"the body is no list of CloudEvents: {error}") from error
    if not 0 < len(found) <= EVENTS:
        status, reason = (413, "too_large") if found else (400, "invalid_schema")
        raise ApiProblem(status, reason, f"send 1 to {EVENTS} events")
    return found


def _arrival(raw: msgspec.Raw, call: ApiCall) -> tuple[bytes, UsageArrival]:
    payload = bytes(raw)
    found = parse(payload, arrival=call.now)
    if len(found) != 1 or found[0].payload != payload:  # a batch, also of one event
        error = Rejected("invalid_schema", f"send a list of events, not {BATCH}")
        return payload, UsageArrival(payload, call.now, error=error)
    return payload, found[0]


def _check_meters(arrivals: list[tuple[bytes, UsageArrival]], call: ApiCall) -> None:
    """As far as the meters are known: an event of one that is not yet created may wait for it."""
    amounts = [one for _, one in arrivals if isinstance(one.event, UsageEvent)]
    known = call.means.known.meters({one.event.meter for one in amounts if isinstance(one.event, UsageEvent)})
    for one in amounts:
        event = one.event
        if isinstance(event, UsageEvent) and event.meter in known:
            try:
                check_meter(event, known[event.meter])
            except Rejected as error:
                one.reject(error)


def _answered(arrival: UsageArrival, call: ApiCall, seen: dict[Key, str]) -> EventAnswer:
    event, error = arrival.event, arrival.error or _not_theirs(arrival, call)
    known = arrival.context.id if arrival.context else None
    if error or event is None:
        error = error or Rejected("invalid_schema", "it is no usage event")
        return EventAnswer("rejected", known, error.reason, str(error)[:300])
    before = seen.get(arrival.key)
    seen.setdefault(arrival.key, event.payload_hash)
    if before not in {None, event.payload_hash}:
        return EventAnswer(
            "rejected", known, "id_reuse", "this source and id occur earlier in the list with another content"
        )
    return EventAnswer("duplicate" if before else "accepted", known)


def _not_theirs(arrival: UsageArrival, call: ApiCall) -> Rejected | None:
    """Why a key of one workspace may not send this."""
    event = arrival.event
    if event is None or not call.workspace_id:
        return None
    if event.workspace_id != call.workspace_id:
        return Rejected("other_workspace", "the subject is another workspace than the key's")
    if not all(is_source_of(one, call.workspace_id) for one in _sources(event)):
        own = workspace_source(call.workspace_id)
        return Rejected("source_not_allowed", f"the source of a workspace's key is {own}, or begins with {own}/")
    return None


def _sources(event: UsageEvent | VoidEvent) -> Iterator[str]:
    yield event.source
    if isinstance(event, VoidEvent):
        yield event.voids_source


ROUTES = (
    ApiRoute(
        method="POST",
        path="/v1/events",
        name="record_events",
        says="Usage as CloudEvents, one or a list; accepted is durably queued",
        scope=USAGE_RECORD,
        run=record,
        body=list,
        answer=EventsAnswer,
    ),
)
