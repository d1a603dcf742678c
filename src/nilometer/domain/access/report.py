"""What a service reports about a workspace's security: a login, a failure, the use of a key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from nilometer.domain.access import lockout
from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import Bounds, Decided, Deed, Id, Stored
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.security import Reported, SecurityAction, entry
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key, Write

Code = Annotated[str, Bounds(pattern="^[a-z0-9_.]{1,64}$", says="A code of the service: wrong_password")]


@dataclass(frozen=True, kw_only=True)
class ReportSecurity(Deed[datetime | None]):
    """A login, or another act that concerns security, succeeded or failed.

    The entry, and what it means for the user's lock-out. The answer is until when he is locked out, if he is.
    """

    permission = Permission.SECURITY_RECORD

    action: Reported
    user_id: Id
    object_id: Id | None = None
    reason: Code | None = None

    def reads(self, act: Act) -> list[Key]:
        return [keys.lockout(act.workspace_id, self.user_id)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        user_id, failures = self.user_id, stored.get(keys.lockout(act.workspace_id, self.user_id))
        action = SecurityAction(self.action)
        written = entry(act, action, subject=user_id, object_id=self.object_id, reason=self.reason, actor=user_id)
        match self.action:
            case Reported.LOGIN_FAILED:
                return [written, *lockout.failed(act, stored=failures, user_id=user_id)]
            case Reported.LOGIN:
                return [written, *lockout.succeeded(act, stored=failures, user_id=user_id)]
        return [written]

    def answer(self, act: Act, decided: Decided) -> datetime | None:
        return lockout.locked_until(decided.after(keys.lockout(act.workspace_id, self.user_id)), act.now)
