"""What an alert announces: a threshold was reached, or the hard limit was.

An alert is put once a (workspace, meter, period, threshold, version of the limit), so its insertion is announced once.
A limit that was changed has thresholds of its own, which may be reached again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nilometer.domain.limits.limit import HARD
from nilometer.domain.store.writes import Item

THRESHOLD_REACHED = "usage.threshold_reached.v1"
LIMIT_BLOCKED = "limit.blocked.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertAnnounced:
    """One event of a workspace. `data` has `percent`, or `blocked_from` where the hard limit was reached."""

    type: str
    id: str
    workspace_id: str
    data: Mapping[str, Any]


def reached(old: Item | None, new: Item | None) -> AlertAnnounced | None:
    """Of an alert that was put; `None` for any other change of one."""
    if old is not None or new is None:
        return None
    threshold = str(new["threshold"])
    hard = threshold == HARD
    names = ("workspace_id", "meter", "limit", "used", "period_start", "period_end", "limit_version", "cause")
    own = {"blocked_from": new.get("grace_ends_at") or new["crossed_at"]} if hard else {"percent": threshold}
    place = ":".join(str(new[name]) for name in ("workspace_id", "meter", "period_start", "threshold", "limit_version"))
    type_ = LIMIT_BLOCKED if hard else THRESHOLD_REACHED
    return AlertAnnounced(
        type=type_,
        id=f"{place}:{type_}",
        workspace_id=str(new["workspace_id"]),
        data={**{name: new.get(name) for name in names}, "reached_at": new["crossed_at"], **own},
    )
