"""The lives of events as the functions' log lines show them: each line of a record moves one event a step further.

webhook ─▶ billing ─▶ changes ─▶ lake        an event of Stripe
           usage   ─▶ changes ─▶ lake        a usage event
           operations ─▶ changes ─▶ lake     what a service reports
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from threading import Lock
from typing import Any

from nilometer.console.place import LineFeed

KEPT = 2_000  # events
SHOWN = 100
_EPOCH = datetime.fromtimestamp(0, UTC)
_LOGGED_AT = "%Y-%m-%d %H:%M:%S,%f%z"  # as Powertools writes it
_ENTRANCES = {
    "billing": "stripe",
    "webhook": "stripe",
    "usage": "usage",
    "operations": "operation",
    "notices": "notice",
}
STAGES: Mapping[str, Sequence[str]] = {
    "stripe": ("webhook", "billing", "changes", "lake"),
    "usage": ("usage", "changes", "lake"),
    "operation": ("operations", "changes", "lake"),
    "notice": ("notices", "changes", "lake"),
    "dataset": ("datasets",),
}
"""What an event of each kind passes."""
_AFTER = frozenset({"limits", "changes", "lake"})
"""Flows whose lines name an event by its id alone, once another flow has decided on it."""
OUTCOMES = ("accepted", "duplicate", "waiting", "rejected", "failed", "ignored")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTraits:
    """What a line, and all lines together, say of an event itself. `key` is its id, or stands for it."""

    key: str
    event_id: str | None = None
    type: str | None = None
    source: str | None = None
    workspace_id: str | None = None
    reason: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting(EventTraits):
    """One line about one record: where it was and what became of it there."""

    at: datetime
    flow: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLife(EventTraits):
    """What is known of one event. `stages` has the newest sighting by flow; `revision` rises with every change."""

    first_at: datetime
    last_at: datetime
    kind: str
    stages: Mapping[str, Sighting] = field(default_factory=dict)
    revision: int = 0

    @property
    def name(self) -> str | None:
        """As `nilometer trace` takes it; None of what has no id."""
        if self.kind != "stripe" and self.source and self.event_id:
            return f"{self.source}#{self.event_id}"
        return self.event_id

    @property
    def outcome(self) -> str:
        """Of the flow that decides on it, else of the entrance."""
        decided = [self.stages[flow].outcome for flow in (*_ENTRANCES, "datasets") if flow in self.stages]
        return next((one for one in decided if one in {"rejected", "failed"}), decided[0] if decided else "accepted")

    def at_stage(self, flow: str) -> str:
        """Its outcome in a flow of its path. `passed` where a later flow has it and no line is left; `not yet` else."""
        if flow in self.stages:
            return self.stages[flow].outcome
        later = self.path[self.path.index(flow) + 1 :]
        return "passed" if any(one in self.stages for one in later) else "not yet"

    @property
    def path(self) -> Sequence[str]:
        """The flows that an event of its kind passes."""
        return STAGES.get(self.kind, ())


def sightings(line: str) -> Iterator[Sighting]:
    """What a log line says of records: nothing, one, or of the lake's lines one an event."""
    return _sightings(_json(line))


def _sightings(said: Mapping[str, Any]) -> Iterator[Sighting]:
    flow, _, outcome = str(said.get("message", "")).partition(".")
    if outcome not in OUTCOMES or not _speaks(flow, outcome):
        return
    at = _logged_at(said)
    ids = str(said.get("event_ids", "")).split() if flow == "lake" else [_text(said, "event_id")]
    for event_id in ids:
        unnamed = f"{flow} {said.get('request_id')} {said.get('message_id')}"
        yield Sighting(
            at=at,
            flow=flow,
            outcome=outcome,
            key=event_id or unnamed,
            event_id=event_id,
            type=_text(said, "type"),
            source=_text(said, "source"),
            workspace_id=_text(said, "workspace_id"),
            reason=_text(said, "reason") or _text(said, "error"),
            count=sum(value for name, value in said.items() if name.startswith("events_") and isinstance(value, int))
            or 1,
        )


def _speaks(flow: str, outcome: str) -> bool:
    """What was ignored is no event of that flow; limits and changes log an event that another flow decides on."""
    return outcome != "ignored" or flow == "limits"


def _logged_at(said: Mapping[str, Any]) -> datetime:
    try:
        return datetime.strptime(str(said.get("timestamp")), _LOGGED_AT).astimezone(UTC)
    except ValueError:
        return _EPOCH


def _text(said: Mapping[str, Any], name: str) -> str | None:
    value = said.get(name)
    return value if isinstance(value, str) and value else None


def _json(line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class Timeline:
    """The newest events of a feed. Reads it only when it is asked, so that it costs nothing while nobody looks."""

    def __init__(self, feed: LineFeed) -> None:
        self._feed = feed
        self._lives: dict[str, EventLife] = {}
        self._named: dict[str, list[str]] = {}  # the keys of the lives whose events have an id: senders may share it
        self._lock = Lock()
        self.revision = 0
        """Rises with what is taken in; a time in milliseconds, so that several processes agree on what is newer."""
        self.last_lines: dict[str, datetime] = {}
        """When each flow last said something, of whatever."""

    def refresh(self) -> None:
        """Takes in what the feed has. One thread reads at a time; others find the work done."""
        with self._lock:
            lines = [_json(line) for line in self._feed.poll()]
            seen = sorted((one for said in lines for one in _sightings(said)), key=lambda one: one.at)
            for said in lines:
                flow, dot, _ = str(said.get("message", "")).partition(".")
                if dot:
                    self.last_lines[flow] = max(self.last_lines.get(flow, _EPOCH), _logged_at(said))
            if seen:
                self.revision = max(self.revision + 1, int(time.time() * 1000))
            for one in seen:
                self._take(one)
            if len(self._lives) > KEPT:
                newest = sorted(self._lives.values(), key=lambda life: life.last_at)[-KEPT:]
                self._lives = {life.key: life for life in newest}
                self._named = {}
                for life in newest:
                    self._named.setdefault(life.event_id or life.key, []).append(life.key)

    def _take(self, one: Sighting) -> None:
        same = [life for life in self._called(one.key) if _may_be(life, one)]
        if not same and one.flow not in _AFTER:  # else its beginning is older than what is kept, or it is no event
            same = [self._begun(one)]
        for life in same:
            self._lives[life.key] = _with(life, one if len(same) == 1 else _bare(one), self.revision)

    def _begun(self, one: Sighting) -> EventLife:
        """A new life. The first with its id has it as its key; others add who sent it and whose it is."""
        others = self._named.setdefault(one.key, [])
        key = "\n".join((one.key, one.source or "", one.workspace_id or "")) if others else one.key
        others.append(key)
        kind = _ENTRANCES.get(one.flow, "dataset")
        return EventLife(key=key, first_at=one.at, last_at=one.at, kind=kind, count=one.count)

    def _called(self, event_id: str) -> list[EventLife]:
        return [self._lives[key] for key in self._named.get(event_id, ())]

    def find(self, name: str, workspace_id: str | None = None) -> EventLife | None:
        """By `SOURCE#ID`, an id or the life's key, the newest of several; with a workspace none of another one."""
        source, _, event_id = name.rpartition("#")
        found = [life for life in self._called(event_id) if source in {"", life.source}]
        found += [*self._called(name), *([self._lives[name]] if name in self._lives else [])]
        theirs = [life for life in found if workspace_id is None or life.workspace_id in {None, workspace_id}]
        return max(theirs, key=lambda life: life.last_at, default=None)

    def newest(self, wanted: EventFilter, *, limit: int = SHOWN, since: int = 0) -> list[EventLife]:
        """Those that the filter leaves, newest first; with `since` only what changed after that revision."""
        with self._lock:
            lives = sorted(self._lives.values(), key=lambda life: life.first_at, reverse=True)
        return list(islice((one for one in lives if one.revision > since and wanted.includes(one)), limit))

    def types(self, wanted: EventFilter) -> list[str]:
        """Of all that the filter leaves, for the choice of a type."""
        return sorted({life.type for life in self.newest(wanted, limit=KEPT) if life.type})


def _may_be(life: EventLife, one: Sighting) -> bool:
    """Whether a line with this id can be of this event: senders choose ids, so another sender's is another event.

    Of flows that decide on events also one of another workspace is.
    """
    own = one.flow in _AFTER or life.workspace_id is None or one.workspace_id in {None, life.workspace_id}
    return own and (life.source is None or one.source in {None, life.source})


def _bare(one: Sighting) -> Sighting:
    """Of several events with one id, which of them is not known: what only one of them may be is left out."""
    return replace(one, type=None, source=None, workspace_id=None, reason=None)


def _with(known: EventLife, one: Sighting, revision: int) -> EventLife:
    return replace(
        known,
        last_at=max(known.last_at, one.at),
        event_id=known.event_id or one.event_id,
        type=known.type or one.type,
        source=known.source or one.source,
        workspace_id=known.workspace_id or one.workspace_id,
        reason=one.reason or known.reason,
        stages=known.stages if one.flow == "limits" else {**known.stages, one.flow: _worse(known, one)},
        revision=revision,
    )


def _worse(known: EventLife, one: Sighting) -> Sighting:
    """A copy that was dropped does not hide that the event was accepted."""
    before = known.stages.get(one.flow)
    return before if before and one.outcome == "duplicate" and before.outcome == "accepted" else one


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are meant; what is empty excludes none. `type` and `text` are parts of what they look for."""

    type: str = ""
    workspace_id: str = ""
    outcome: str = ""
    kind: str = ""
    text: str = ""

    def includes(self, life: EventLife) -> bool:
        """All conditions must hold."""
        return (
            (not self.type or self.type in (life.type or ""))
            and (not self.workspace_id or life.workspace_id == self.workspace_id)
            and (not self.outcome or life.outcome == self.outcome)
            and (not self.kind or life.kind == self.kind)
            and (not self.text or self.text in f"{life.event_id} {life.source} {life.reason}")
        )
