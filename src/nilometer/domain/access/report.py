"""What a service reports about a workspace's doors: a login, a failure, the use of a key."""

from __future__ import annotations

from nilometer.domain.access import lockout
from nilometer.domain.acts.act import Act
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.security import Action, Reported, entry
from nilometer.domain.store.writes import Item, Write


def report(
    act: Act,
    *,
    failures: Item | None,
    action: Reported,
    user_id: str,
    object_id: str | None = None,
    reason: str | None = None,
) -> list[Write]:
    """The entry, and what it means for the user's lock-out; `failures` is that record."""
    act.caller.require(Permission.SECURITY_RECORD)
    written = entry(act, Action(action), subject=user_id, object_id=object_id, reason=reason, actor=user_id)
    match action:
        case Reported.LOGIN_FAILED:
            return [written, *lockout.failed(act, stored=failures, user_id=user_id)]
        case Reported.LOGIN:
            return [written, *lockout.succeeded(act, stored=failures, user_id=user_id)]
    return [written]
