"""How far a person is with a tutorial in a workspace.

Every step keeps the latest time at which it was done, and a restart is a time too: only what was done after it
counts. Maxima may be merged in any order and any number of times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nilometer.domain.acts.act import checked_id
from nilometer.domain.acts.origin import Origin, check_workspace, put
from nilometer.domain.acts.records import alive
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.domain.usage.meter import SLUG
from nilometer.errors import Rejected

KEPT = timedelta(days=180)  # since the last step
STEPS = 50  # of one tutorial


class Mark(StrEnum):
    """What may happen beside a step."""

    RESTARTED = "restarted"
    DISMISSED = "dismissed"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """One step done, or one mark set, at a time."""

    workspace_id: str
    user_id: str
    tutorial: str
    at: datetime
    step: str | None = None
    mark: Mark | None = None

    @property
    def key(self) -> Key:
        return keys.onboarding(self.workspace_id, self.user_id, self.tutorial)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`steps` in the order in which they were done; `status` is active, dismissed or completed."""

    tutorial: str
    steps: tuple[str, ...]
    status: str


def new_advance(
    workspace_id: str,
    user_id: str,
    *,
    tutorial: str,
    at: datetime,
    step: str | None = None,
    mark: str | None = None,
) -> Advance:
    """`Rejected("invalid_schema")` says which part cannot be: exactly one of `step` and `mark` is given."""
    check_workspace(workspace_id)
    checked_id(user_id)
    if (step is None) == (mark is None):
        raise Rejected("invalid_schema", f"give a step, or one mark of {', '.join(Mark)}")
    for name in (tutorial, step):
        if name is not None and not SLUG.fullmatch(name):
            raise Rejected("invalid_schema", f"{name[:80]!r} is not a slug; use a-z, 0-9 and _, at most 64")
    if mark is not None and mark not in set(Mark):
        raise Rejected("invalid_schema", f"mark {mark!r} is none of {', '.join(Mark)}")
    return Advance(
        workspace_id=workspace_id,
        user_id=user_id,
        tutorial=tutorial,
        at=at,
        step=step,
        mark=Mark(mark) if mark else None,
    )


def advance(stored: Item | None, said: Advance, *, origin: Origin, now: datetime) -> list[Write]:
    """The record with the step or mark at its latest time. What expired begins anew; `stored` guards the write."""
    known = alive(stored, now)
    expires = epoch(said.at + KEPT)
    at = rfc3339(said.at)
    before: Mapping[str, str] = (known or {}).get(_field(said), {})
    name = said.step or str(said.mark)
    if at <= before.get(name, "") or expires <= epoch(now):
        return []
    steps = _merged(known, "steps", said.step, at)
    if len(steps) > STEPS:
        raise Rejected("too_large", f"a tutorial has at most {STEPS} steps")
    attributes = {
        "workspace_id": said.workspace_id,
        "user_id": said.user_id,
        "tutorial": said.tutorial,
        "steps": steps,
        "marks": _merged(known, "marks", said.mark, at),
        "expires_at": max(expires, int((known or {}).get("expires_at", 0))),
    }
    return [put(said.key, "onboarding", attributes, stored=stored, origin=origin, now=now)]


def progress(item: Item) -> Progress:
    marks: Mapping[str, str] = item["marks"]
    restarted = marks.get(Mark.RESTARTED, "")
    done = sorted((at, step) for step, at in item["steps"].items() if at > restarted)
    ended = [(at, mark) for mark, at in marks.items() if mark != Mark.RESTARTED and at > restarted]
    return Progress(
        tutorial=item["tutorial"],
        steps=tuple(step for _, step in done),
        status=max(ended)[1] if ended else "active",
    )


def _field(said: Advance) -> str:
    return "steps" if said.step else "marks"


def _merged(known: Item | None, field: str, name: str | None, at: str) -> dict[str, str]:
    return {**(known or {}).get(field, {}), **({str(name): at} if name else {})}
