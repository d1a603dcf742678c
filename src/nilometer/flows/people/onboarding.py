"""How far a person is with the tutorials of a workspace: a member for himself, a service for whom it names."""

from __future__ import annotations

from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.records import alive
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people import onboarding
from nilometer.domain.people.onboarding import OnboardingProgress
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.flows.people.acting import reading, whose


def progress(store: Store, caller: Caller, *, now: datetime, user_id: str | None = None) -> list[OnboardingProgress]:
    """Every tutorial that he began here and that has not expired."""
    key = keys.onboarding(caller.workspace_id, whose(caller, user_id), "")
    reading(store, caller, Permission.ONBOARDING_UPDATE)
    items = store.query(Table.RECORDS, key.pk, prefix=key.sk)
    return [onboarding.progress(item) for item in items if alive(item, now)]
