"""One event with all that is known of it, and the events that the lake has, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nilometer.console.place import Place
from nilometer.domain.recovery.dead_letter import DeadLetter, Wanted, shown
from nilometer.domain.recovery.history import Step
from nilometer.domain.recovery.refused import FLOWS, KeptReject
from nilometer.domain.recovery.trace import Audited, Hop, Trace, TracedEvent, TraceStage
from nilometer.domain.store.keys import INDEXED
from nilometer.domain.store.times import from_epoch
from nilometer.flows.recovery import dead_letters
from nilometer.flows.recovery.trace import Sources, traced
from nilometer.lake.read.bounded import bounded_query

PAGE = 50
_HIDDEN = {"version", "updated_at", "cause", "inputs", "evidence", *INDEXED}
_CHANGES = 40  # of one event, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One hop in the waterfall: from `left` over `width`, in percent of the time from arrival to the last hop."""

    hop: Hop
    after: float | None
    left: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDetail:
    """`payload` is redacted as in the lake; of a reject or dead letter `raw` is what arrived, for who may see it."""

    trace: Trace
    bars: Sequence[Bar]
    changes: Sequence[Step]
    payload: Any
    reject: KeptReject | None = None
    letter: DeadLetter | None = None
    workspace_id: str | None = None
    raw: str | None = None
    in_lake: bool = False

    @property
    def name(self) -> str:
        """The one of this event alone: of another sender's event with the same id it is another."""
        one = self.trace.identity
        return one.event_id if one.kind == "stripe_event" else f"{one.source or ''}#{one.event_id}"


def detail(place: Place, name: str, *, account: str | None = None, only_of: str | None = None) -> EventDetail:
    """Everything about the event that is called `evt_1`, `SOURCE#ID` or by an id alone.

    With `only_of` what it changed in other workspaces is left out.
    """
    letters: list[DeadLetter] = []

    def dead(event_id: str) -> Iterator[DeadLetter]:
        found = dead_letters.look(place.boxes(), Wanted(), reasons=place.reasons, mention=event_id)
        letters.extend(found)
        yield from found

    sources = Sources(store=place.store, ledger=place.ledger, objects=place.objects, dead=dead, now=place.clock())
    found, audited = traced(name, sources, account=account, only_of=only_of)
    stopped = {hop.place for hop in found.hops}
    reject = _reject(place, found) if TraceStage.REJECTED in stopped else None
    payload, workspace_id = _payload(place, found)
    raw = place.lane().payload(reject) if reject else None
    return EventDetail(
        trace=found,
        bars=waterfall(found.hops),
        changes=[_step(one) for one in audited[:_CHANGES] if one.change.kind != "reject"],
        payload=shown(raw) if raw is not None else payload,
        reject=reject,
        letter=letters[0] if letters else None,
        workspace_id=workspace_id or (reject.workspace_id if reject else None),
        raw=raw,
        in_lake=payload is not None,
    )


def waterfall(hops: Sequence[Hop]) -> list[Bar]:
    """Each hop begins where the one before it ended. What happened before the arrival is no part of the scale."""
    arrived = [hop.at for hop in hops if hop.place is not TraceStage.HAPPENED]
    if not arrived:
        return [Bar(hop=hop, after=None, left=0, width=0) for hop in hops]
    start, total = min(arrived), max((max(arrived) - min(arrived)).total_seconds(), 0.001)
    bars: list[Bar] = []
    before, since = 0.0, hops[0].at
    for hop in hops:
        at = min(max(0.0, (hop.at - start).total_seconds() / total * 100), 100.0)
        after = max(0.0, (hop.at - since).total_seconds()) if bars else None
        bars.append(Bar(hop=hop, after=after, left=min(before, at), width=max(at - before, 0.0)))
        before, since = max(before, at), hop.at
    return bars


def _step(one: Audited) -> Step:
    change = one.change
    old, new = ({k: v for k, v in (image or {}).items() if k not in _HIDDEN} for image in (change.old, change.new))
    return Step(
        key=change.key,
        occurred_at=from_epoch(change.occurred_at),
        action=change.action,
        actor=change.item.get("actor"),
        cause=one.cause,
        old=old if change.old is not None else None,
        new=new if change.new is not None else None,
    )


def _reject(place: Place, found: Trace) -> KeptReject | None:
    since = place.clock() - timedelta(days=40)
    kept = place.lane().all(FLOWS, since=since, settled=True)
    return next((one for one in kept if _is_of(one, found.identity)), None)


def _is_of(reject: KeptReject, identity: TracedEvent) -> bool:
    """Not of another sender's event with the same id. Stripe's are named by their account."""
    ours = identity.kind == "stripe_event" or identity.source is None or reject.source in {None, identity.source}
    return ours and reject.event_id == identity.event_id


def _payload(place: Place, found: Trace) -> tuple[Any, str | None]:
    """What the lake keeps of it, and whose it is."""
    identity = found.identity
    if identity.kind == "stripe_event":
        sql = "select * from stripe_events where event_id = $id and account = $source limit 1"
    elif identity.kind == "usage_event":
        sql = "select * from usage where event_id = $id and source = $source limit 1"
    else:
        return None, None
    values = {"id": identity.event_id, "source": identity.source or ""}
    rows = bounded_query(sql, values=values, **place.lake).as_dicts()
    if not rows:
        return None, None
    row = rows[0]
    payload = row.pop("payload", None)
    if payload is None and (reference := row.get("payload_ref")):
        payload = place.objects.get(reference).decode()
    return (json.loads(payload) if payload else row), row.get("workspace_id")


_SPANS = (timedelta(days=1), timedelta(days=31), timedelta(days=20_000))
"""How far back a page looks, until it is full: files of other times are not read."""
_LISTED = """
    with listed as (
      select received_at, 'stripe' as kind, type, event_id, account as source, workspace_id,
             'accepted' as outcome, '' as reason, object_id, customer_id
      from stripe_events
      union all
      select received_at, 'usage', type, event_id, source, workspace_id, 'accepted',
             meter || ' ' || rtrim(rtrim(quantity::varchar, '0'), '.'),
             null, null
      from usage where type <> 'usage.moved.v1'
      union all
      select occurred_at, new_image->>'flow', 'rejected', coalesce(new_image->>'event_id', pk), new_image->>'source',
             workspace_id, 'rejected', new_image->>'reason', null, null
      from audit where kind = 'reject' and action = 'INSERT')
    select * from listed
    where received_at >= $since and ($kind = '' or kind = $kind) and ($type = '' or contains(type, $type))
      and ($workspace = '' or workspace_id = $workspace) and ($outcome = '' or outcome = $outcome)
      and ($text = '' or contains(event_id, $text)) and ($object = '' or $object in (object_id, customer_id))
      and ($before = '' or (received_at, event_id) < ($before::timestamptz, $before_id))
    order by received_at desc, event_id desc limit $limit
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsPage:
    """Rows of the lake, newest first, and the cursor of the page that follows; None at the end."""

    rows: Sequence[Mapping[str, Any]]
    after: str | None


def listed(place: Place, wanted: Mapping[str, str], cursor: str | None) -> EventsPage:
    """Accepted events and rejects, as far as they are in the lake. A cursor that cannot be read begins anew."""
    before, before_id = _cursor(cursor)
    values = {name: wanted.get(name, "") for name in ("kind", "type", "workspace", "outcome", "text", "object")}
    values |= {"before": before, "before_id": before_id}
    newest = datetime.fromisoformat(before) if before else place.clock()
    rare = values["workspace"] or values["text"] or values["object"]  # one look at all is cheaper than three
    for span in _SPANS[-1:] if rare else _SPANS:
        asked = {**values, "since": newest - span, "limit": PAGE + 1}
        found = bounded_query(_LISTED, values=asked, **place.lake).as_dicts()
        if len(found) > PAGE:
            break
    rows = found[:PAGE]
    after = f"{rows[-1]['received_at'].isoformat()}~{rows[-1]['event_id']}" if len(found) > PAGE else None
    return EventsPage(rows=rows, after=after)


def _cursor(cursor: str | None) -> tuple[str, str]:
    before, _, event_id = (cursor or "").partition("~")
    try:
        return (datetime.fromisoformat(before).isoformat(), event_id) if before else ("", "")
    except ValueError:
        return "", ""
