"""How far a person is with the tutorials of a workspace: a member for himself, a service for whom it names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Act, Caller
from nilometer.domain.acts.origin import of_act
from nilometer.domain.acts.records import alive
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people import onboarding
from nilometer.domain.people.onboarding import Progress
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table, Write
from nilometer.flows.people.acting import Stored, new_act, perform, reading, whose


def advance(
    store: Store,
    caller: Caller,
    *,
    tutorial: str,
    now: datetime,
    step: str | None = None,
    mark: str | None = None,
    user_id: str | None = None,
) -> None:
    """He did a step, or restarted, dismissed or completed a tutorial. Doing it again changes its time only."""
    own = whose(caller, user_id)
    said = onboarding.new_advance(caller.workspace_id, own, tutorial=tutorial, at=now, step=step, mark=mark)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], None]:
        act.caller.require(Permission.ONBOARDING_UPDATE)
        return onboarding.advance(stored.get(said.key), said, origin=of_act(act), now=now), None

    perform(store, new_act(caller, now), [said.key], decide)


def progress(store: Store, caller: Caller, *, now: datetime, user_id: str | None = None) -> list[Progress]:
    """Every tutorial that he began here and that has not expired."""
    key = keys.onboarding(caller.workspace_id, whose(caller, user_id), "")
    reading(store, caller, Permission.ONBOARDING_UPDATE)
    items = store.query(Table.RECORDS, key.pk, prefix=key.sk)
    return [onboarding.progress(item) for item in items if alive(item, now)]
