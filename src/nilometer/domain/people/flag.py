"""Feature flags: on or off for everybody, for one workspace, or for a stable share of all workspaces.

The first that applies decides:

    1. not known, or archived   off
    2. override of the workspace
    3. the flag is on for everybody
    4. rollout: the workspace's bucket (0 to 99, by hash) is below the percentage
    5. off
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import UNSAID, Actor, Bounds, Decided, Deed, Reach, Slug, Stored, Unsaid, said
from nilometer.domain.acts.records import field_times, newer, put
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.text import check_text
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Check, Item, Key, Present, Table, Write
from nilometer.domain.usage.meter import check_name
from nilometer.errors import NotKnownYet, Rejected

DESCRIPTION_LENGTH = 500
BUCKETS = 100

Rollout = Annotated[int, Bounds(least=0, most=BUCKETS, says="Percentage of workspaces")]
Description = Annotated[str, Bounds(most=DESCRIPTION_LENGTH)]

_DEFAULTS: Mapping[str, Any] = {"enabled": False, "rollout": 0, "archived": False, "description": ""}


class Reason(StrEnum):
    """Which rule decided, in the order in which the rules are tried."""

    UNKNOWN = "unknown"
    ARCHIVED = "archived"
    OVERRIDE = "override"
    EVERYBODY = "everybody"
    ROLLOUT = "rollout"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The answer and why. `bucket` and `rollout` explain a share; `changed_by` and `changed_at` who decided."""

    flag: str
    workspace_id: str
    on: bool
    reason: Reason
    bucket: int
    rollout: int = 0
    changed_by: str | None = None
    changed_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class SetFlag(Deed[Item]):
    """A flag is set for everybody; the first time creates it, off; what is left out stays.

    Any order of events ends in the same flag. The answer is its record.
    """

    reach = Reach.EVERYBODY
    actor = Actor.NAMED

    flag: Slug
    enabled: bool | Unsaid = UNSAID
    rollout: Rollout | Unsaid = UNSAID
    archived: bool | Unsaid = UNSAID
    description: Description | Unsaid = UNSAID

    def __post_init__(self) -> None:
        check_name(self.flag)
        if isinstance(self.rollout, int) and not 0 <= self.rollout <= BUCKETS:
            raise Rejected("invalid_schema", "rollout is a percentage of workspaces, 0 to 100")
        if isinstance(self.description, str):
            check_text("a description", self.description, DESCRIPTION_LENGTH, at_least=0)

    def reads(self, act: Act) -> list[Key]:
        return [keys.flag(self.flag)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        known = stored.get(keys.flag(self.flag))
        given = said(enabled=self.enabled, rollout=self.rollout, archived=self.archived, description=self.description)
        later = newer(act, known, given)
        if known and not later:
            return []
        attributes = {
            "flag": self.flag,
            **{name: (known or _DEFAULTS)[name] for name in _DEFAULTS},
            **later,
            "field_times": field_times(act, known, later),
            "gsi1pk": keys.FLAGS,
            "gsi1sk": self.flag,
        }
        return [put(act, keys.flag(self.flag), "flag", known, attributes)]

    def answer(self, act: Act, decided: Decided) -> Item:
        return decided.after(keys.flag(self.flag)) or {}


@dataclass(frozen=True, kw_only=True)
class OverrideFlag(Deed[None]):
    """A flag has its own value in one workspace; `enabled` null takes that back.

    What is taken back stays as a mark, so that an older override that comes late does not revive; the index no longer
    names it. `NotKnownYet` when there is no such flag.
    """

    permission = Permission.FLAG_MANAGE
    actor = Actor.NAMED

    flag: Slug
    enabled: bool | None

    def __post_init__(self) -> None:
        check_name(self.flag)

    def reads(self, act: Act) -> list[Key]:
        return [keys.override(act.workspace_id, self.flag), keys.flag(self.flag)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        own, flag = self.reads(act)
        if flag not in stored:
            raise NotKnownYet("unknown_flag", f"flag {self.flag} is not known yet; its creation may not have arrived")
        if not newer(act, stored.get(own), {"enabled": self.enabled}):
            return []
        index = {"gsi1pk": flag.pk, "gsi1sk": keys.workspace(act.workspace_id).pk}
        attributes = {
            "flag": self.flag,
            "workspace_id": act.workspace_id,
            "enabled": self.enabled,
            "field_times": field_times(act, stored.get(own), ["enabled"]),
            **(index if self.enabled is not None else {}),
        }
        written = put(act, own, "flag_override", stored.get(own), attributes)
        return [written, Check(table=Table.RECORDS, key=flag, expected=Present())]


def evaluate(name: str, workspace_id: str, flag: Item | None, override: Item | None) -> Evaluation:
    """Total: every flag has an answer for every workspace."""
    bucket = bucket_of(name, workspace_id)
    if flag is None:
        return Evaluation(flag=name, workspace_id=workspace_id, on=False, reason=Reason.UNKNOWN, bucket=bucket)
    on, reason = _answer(flag, override, bucket)
    decided_by = override if override and reason is Reason.OVERRIDE else flag
    return Evaluation(
        flag=name,
        workspace_id=workspace_id,
        on=on,
        reason=reason,
        bucket=bucket,
        rollout=int(flag["rollout"]),
        changed_by=decided_by.get("actor"),
        changed_at=decided_by.get("updated_at"),
    )


def bucket_of(flag: str, workspace_id: str) -> int:
    """0 to 99, evenly; another one for another flag, so that not always the same workspaces come first."""
    digest = hashlib.sha256(f"{flag}\n{workspace_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * BUCKETS >> 64


def _answer(flag: Item, override: Item | None, bucket: int) -> tuple[bool, Reason]:
    if flag["archived"]:
        return False, Reason.ARCHIVED
    if override and override["enabled"] is not None:
        return bool(override["enabled"]), Reason.OVERRIDE
    if flag["enabled"]:
        return True, Reason.EVERYBODY
    if bucket < int(flag["rollout"]):
        return True, Reason.ROLLOUT
    return False, Reason.OFF
