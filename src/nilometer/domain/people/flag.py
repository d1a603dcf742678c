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
from datetime import datetime
from enum import StrEnum
from typing import Any

from nilometer.domain.acts.origin import Origin, check_length, check_workspace, field_times, newer, put
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Check, Item, Key, Present, Put, Table, Write
from nilometer.domain.usage.meter import check_name
from nilometer.errors import NotKnownYet, Rejected

DESCRIPTION_LENGTH = 500
BUCKETS = 100

_DEFAULTS: Mapping[str, Any] = {"enabled": False, "rollout": 0, "archived": False, "description": ""}


class Reason(StrEnum):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagChange:
    """What is said of a flag; what is not given stays. The first change creates it, off."""

    flag: str
    given: Mapping[str, Any]

    @property
    def key(self) -> Key:
        return keys.flag(self.flag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One workspace's own answer; `None` takes it back."""

    flag: str
    workspace_id: str
    enabled: bool | None

    @property
    def key(self) -> Key:
        return keys.override(self.workspace_id, self.flag)


def new_change(
    flag: str,
    *,
    enabled: bool | None = None,
    rollout: int | None = None,
    archived: bool | None = None,
    description: str | None = None,
) -> FlagChange:
    """`None` says nothing. `Rejected("invalid_schema")` says which part cannot be."""
    check_name(flag)
    if rollout is not None and not 0 <= rollout <= BUCKETS:
        raise Rejected("invalid_schema", "rollout is a percentage of workspaces, 0 to 100")
    if description is not None:
        check_length("a description", description, DESCRIPTION_LENGTH, at_least=0)
    said = {"enabled": enabled, "rollout": rollout, "archived": archived, "description": description}
    return FlagChange(flag=flag, given={name: value for name, value in said.items() if value is not None})


def new_override(flag: str, workspace_id: str, enabled: bool | None) -> Override:
    check_name(flag)
    check_workspace(workspace_id)
    return Override(flag=flag, workspace_id=workspace_id, enabled=enabled)


def change(stored: Item | None, said: FlagChange, *, origin: Origin, now: datetime) -> Put | None:
    """The flag with what is said later than it knows, field by field; any order of changes ends in the same flag."""
    later = newer(stored, said.given, origin)
    if stored and not later:
        return None
    kept = {name: (stored or _DEFAULTS)[name] for name in _DEFAULTS}
    attributes = {
        "flag": said.flag,
        **kept,
        **later,
        "field_times": field_times(stored, later, origin),
        "gsi1pk": keys.FLAGS,
        "gsi1sk": said.flag,
    }
    return put(said.key, "flag", attributes, stored=stored, origin=origin, now=now)


def override_reads(said: Override) -> tuple[Key, Key]:
    return said.key, keys.flag(said.flag)


def override(found: Mapping[Key, Item], said: Override, *, origin: Origin, now: datetime) -> list[Write]:
    """The override and the check that its flag exists. What is taken back stays as a mark, so that an older
    override that comes late does not revive; the index no longer names it.

    `found` holds what exists of `override_reads`. `NotKnownYet` when the flag is not known.
    """
    own, flag = override_reads(said)
    stored = found.get(own)
    if flag not in found:
        raise NotKnownYet("unknown_flag", f"flag {said.flag} is not known yet; its creation may be on the way")
    if not newer(stored, {"enabled": said.enabled}, origin):
        return []
    index = {"gsi1pk": keys.flag(said.flag).pk, "gsi1sk": keys.workspace(said.workspace_id).pk}
    attributes = {
        "flag": said.flag,
        "workspace_id": said.workspace_id,
        "enabled": said.enabled,
        "field_times": field_times(stored, ["enabled"], origin),
        **(index if said.enabled is not None else {}),
    }
    return [
        put(said.key, "flag_override", attributes, stored=stored, origin=origin, now=now),
        Check(table=Table.RECORDS, key=flag, expected=Present()),
    ]


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
