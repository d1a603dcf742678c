"""How far a person is with a tutorial in a workspace.

Every step keeps the latest time at which it was done, and a restart is a time too: only what was done after it
counts. Maxima may be merged in any order and any number of times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.deed import Actor, Deed, Id, Slug, Stored, made
from nilometer.domain.acts.records import alive, put
from nilometer.domain.acts.roles import Permission
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.domain.usage.meter import SLUG
from nilometer.errors import Rejected

KEPT = timedelta(days=180)  # since the last step
STEPS = 50  # of one tutorial


class Mark(StrEnum):
    """What may happen besides a step."""

    RESTARTED = "restarted"
    DISMISSED = "dismissed"
    COMPLETED = "completed"


@dataclass(frozen=True, kw_only=True)
class AdvanceOnboarding(Deed[None]):
    """A member did a step of a tutorial, or restarted, dismissed or completed it: give a step or a mark.

    The step or mark keeps its latest time. What expired begins again.
    """

    permission = Permission.ONBOARDING_UPDATE
    actor = Actor.PERSON

    user_id: Id = made()
    tutorial: Slug
    step: Slug | None = None
    mark: Mark | None = None

    def __post_init__(self) -> None:
        if (self.step is None) == (self.mark is None):
            raise Rejected("invalid_schema", f"give a step, or one mark of {', '.join(Mark)}")
        for name in (self.tutorial, self.step):
            if name is not None and not SLUG.fullmatch(name):
                raise Rejected("invalid_schema", f"{name[:80]!r} is not a slug; use a-z, 0-9 and _, at most 64")
        if self.mark is not None and self.mark not in set(Mark):
            raise Rejected("invalid_schema", f"mark {self.mark!r} is none of {', '.join(Mark)}")

    def reads(self, act: Act) -> list[Key]:
        return [keys.onboarding(act.workspace_id, checked_id(self.user_id), self.tutorial)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        [key] = self.reads(act)
        known = alive(stored.get(key), act.now)
        expires, at = epoch(act.happened + KEPT), rfc3339(act.happened)
        steps, marks = _merged(known, "steps", self.step, at), _merged(known, "marks", self.mark, at)
        same = known and (steps, marks) == (known["steps"], known["marks"])
        if same or expires <= epoch(act.now):
            return []
        if len(steps) > STEPS:
            raise Rejected("too_large", f"a tutorial has at most {STEPS} steps")
        attributes = {
            "workspace_id": act.workspace_id,
            "user_id": self.user_id,
            "tutorial": self.tutorial,
            "steps": steps,
            "marks": marks,
            "expires_at": max(expires, int((known or {}).get("expires_at", 0))),
        }
        return [put(act, key, "onboarding", stored.get(key), attributes)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardingProgress:
    """`steps` in the order in which they were done; `status` is active, dismissed or completed."""

    tutorial: str
    steps: tuple[str, ...]
    status: str


def progress(item: Item) -> OnboardingProgress:
    """What counts since the last restart. The latest mark decides the status; without one it is active."""
    marks: Mapping[str, str] = item["marks"]
    restarted = marks.get(Mark.RESTARTED, "")
    done = sorted((at, step) for step, at in item["steps"].items() if at > restarted)
    ended = [(at, mark) for mark, at in marks.items() if mark != Mark.RESTARTED and at > restarted]
    return OnboardingProgress(
        tutorial=item["tutorial"],
        steps=tuple(step for _, step in done),
        status=max(ended)[1] if ended else "active",
    )


def _merged(known: Item | None, field: str, name: str | None, at: str) -> dict[str, str]:
    """The times of `field`, with `at` for `name` when that is later."""
    times: Mapping[str, str] = (known or {}).get(field, {})
    return {**times, **({str(name): max(at, times.get(str(name), ""))} if name else {})}
