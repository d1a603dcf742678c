"""How far the caller is with the tutorials of his workspace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain import keys, onboarding
from nilometer.domain.act import Act, Caller
from nilometer.domain.onboarding import Progress
from nilometer.domain.origin import of_act
from nilometer.domain.records import alive
from nilometer.domain.roles import Permission
from nilometer.domain.writes import Table, Write
from nilometer.errors import Refused
from nilometer.flows.acting import Stored, new_act, perform, reading


def advance(
    store: Store, caller: Caller, *, tutorial: str, now: datetime, step: str | None = None, mark: str | None = None
) -> None:
    """The caller did a step, or restarted, dismissed or completed a tutorial. Doing it again changes its time only."""
    said = onboarding.new_advance(caller.workspace_id, _person(caller), tutorial=tutorial, at=now, step=step, mark=mark)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], None]:
        act.caller.require(Permission.ONBOARDING_UPDATE)
        return onboarding.advance(stored.get(said.key), said, origin=of_act(act), now=now), None

    perform(store, new_act(caller, now), [said.key], decide)


def progress(store: Store, caller: Caller, *, now: datetime) -> list[Progress]:
    """Every tutorial that the caller began here and that has not expired."""
    key = keys.onboarding(caller.workspace_id, _person(caller), "")
    reading(store, caller, Permission.ONBOARDING_UPDATE)
    items = store.query(Table.RECORDS, key.pk, prefix=key.sk)
    return [onboarding.progress(item) for item in items if alive(item, now)]


def _person(caller: Caller) -> str:
    if caller.role is None:
        raise Refused("a tutorial belongs to a member, not to a service")
    return caller.user_id
