"""A one-time token: it proves one thing about one user, until it is used or its time is over.

A used token stays until its end, so that a second use meets a mark and not a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.deed import Decided, Deed, Id, Issuing, Sha256, Stored, made
from nilometer.domain.acts.records import alive, record
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.secret import checked_hash
from nilometer.domain.acts.security import SecurityAction, entry
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.errors import Refused

INVALID = "this token is not valid; ask for another"


class TokenPurpose(StrEnum):
    """What a token proves; stored with it, and a token of one purpose is not accepted for the other."""

    EMAIL_VERIFICATION = "email_verification"
    PASSWORD_RESET = "password_reset"  # noqa: S105  # the name of a purpose


LIFETIME = {TokenPurpose.EMAIL_VERIFICATION: timedelta(days=1), TokenPurpose.PASSWORD_RESET: timedelta(hours=1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token proved when it was used."""

    workspace_id: str
    user_id: str
    purpose: TokenPurpose


def _token_of(item: Item) -> Token:
    return Token(workspace_id=item["workspace_id"], user_id=item["user_id"], purpose=TokenPurpose(item["purpose"]))


@dataclass(frozen=True, kw_only=True)
class IssueToken(Issuing[Token]):
    """A one-time token was issued to a user.

    Nothing when it is issued already.
    """

    permission = Permission.TOKEN_ISSUE
    secret = "once"  # noqa: S105  # a prefix of secrets

    token_hash: Sha256 = made()
    purpose: TokenPurpose
    user_id: Id
    valid_until: datetime | None = None

    def reads(self, act: Act) -> list[Key]:
        return [keys.token(self.token_hash)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        key = keys.token(checked_hash(self.token_hash))
        if key in stored:
            return []
        put = record(
            act,
            key,
            "token",
            None,
            user_id=checked_id(self.user_id),
            purpose=str(self.purpose),
            created_at=rfc3339(act.happened),
            used_at=None,
            expires_at=epoch(self.valid_until or act.happened + LIFETIME[self.purpose]),
        )
        return [put, entry(act, SecurityAction.TOKEN_ISSUED, subject=self.user_id, reason=str(self.purpose))]

    def answer(self, act: Act, decided: Decided) -> Token:
        return Token(workspace_id=act.workspace_id, user_id=self.user_id, purpose=self.purpose)


@dataclass(frozen=True, kw_only=True)
class UseToken(Deed[Token]):
    """A one-time token was presented.

    Once: `Refused`, without saying why, when it is unknown, used, over, of another purpose or workspace.
    """

    token_hash: Sha256
    purpose: TokenPurpose

    def reads(self, act: Act) -> list[Key]:
        return [keys.token(self.token_hash)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        key = keys.token(self.token_hash)
        item = alive(stored.get(key), act.happened)
        if item is None or (item["workspace_id"], item["purpose"], item["used_at"]) != (
            act.workspace_id,
            self.purpose,
            None,
        ):
            raise Refused(INVALID)
        kept = {name: item[name] for name in ("user_id", "purpose", "created_at", "expires_at")}
        put = record(act, key, "token", item, **kept, used_at=rfc3339(act.happened))
        return [put, entry(act, SecurityAction.TOKEN_USED, subject=item["user_id"], reason=str(self.purpose))]

    def answer(self, act: Act, decided: Decided) -> Token:
        return _token_of(decided.before[keys.token(self.token_hash)])
