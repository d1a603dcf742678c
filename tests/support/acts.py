"""Acts for the tests of rules: who, in workspace `ws`, when."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from nilometer.domain.acts.act import Act, Caller, service
from nilometer.domain.acts.roles import Role

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
_chances = itertools.count(1)


def act(caller: Caller | None = None, *, now: datetime = NOW, at: datetime | None = None, stamp: str = "") -> Act:
    chance = next(_chances).to_bytes(10)
    return Act(caller=caller or service("ws", "services"), now=now, at=at, chance=chance, stamp=stamp)


def member(user_id: str, role: Role) -> Caller:
    return Caller(workspace_id="ws", user_id=user_id, role=role)
