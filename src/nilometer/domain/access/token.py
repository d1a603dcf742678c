"""A one-time token: it proves one thing about one user, until it is used or its time is over.

A used token stays until its end, so that a second use meets a mark and not a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.records import alive, record
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.secret import checked_hash
from nilometer.domain.acts.security import Action, entry
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Write
from nilometer.errors import Refused

INVALID = "this token is not valid; ask for another"


class Purpose(StrEnum):
    EMAIL_VERIFICATION = "email_verification"
    PASSWORD_RESET = "password_reset"  # noqa: S105  # the name of a purpose


LIFETIME = {Purpose.EMAIL_VERIFICATION: timedelta(days=1), Purpose.PASSWORD_RESET: timedelta(hours=1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token proved when it was used."""

    workspace_id: str
    user_id: str
    purpose: Purpose


def token_of(item: Item) -> Token:
    return Token(workspace_id=item["workspace_id"], user_id=item["user_id"], purpose=Purpose(item["purpose"]))


def issue(
    act: Act,
    *,
    stored: Item | None,
    user_id: str,
    purpose: Purpose,
    token_hash: str,
    valid_until: datetime | None = None,
) -> list[Write]:
    """Nothing when it is issued already."""
    act.caller.require(Permission.TOKEN_ISSUE)
    if stored:
        return []
    until = valid_until or act.happened + LIFETIME[purpose]
    put = record(
        act,
        keys.token(checked_hash(token_hash)),
        "token",
        None,
        user_id=checked_id(user_id),
        purpose=str(purpose),
        created_at=rfc3339(act.happened),
        used_at=None,
        expires_at=epoch(until),
    )
    return [put, entry(act, Action.TOKEN_ISSUED, subject=user_id, reason=str(purpose))]


def use(act: Act, *, stored: Item | None, token_hash: str, purpose: Purpose) -> list[Write]:
    """Once. `Refused`, without saying why, when it is unknown, used, over, of another purpose or workspace."""
    current = alive(stored, act.happened)
    usable = (
        current is not None
        and current["workspace_id"] == act.workspace_id
        and current["purpose"] == purpose
        and current["used_at"] is None
    )
    if current is None or not usable:
        raise Refused(INVALID)
    names = ("user_id", "purpose", "created_at", "expires_at")
    kept = {name: current[name] for name in names}
    put = record(act, keys.token(token_hash), "token", current, **kept, used_at=rfc3339(act.happened))
    return [put, entry(act, Action.TOKEN_USED, subject=current["user_id"], reason=str(purpose))]
