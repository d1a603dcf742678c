"""A request to fetch an object from Stripe: one an object, however many reasons, until an answer is merged."""

from __future__ import annotations

from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339_of
from nilometer.domain.store.writes import Key, Table, Update
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.registers.resolve import REFETCH_DELAY, REFETCH_INDEX


def _refetch_key(scope: Scope, object_type: str, object_id: str) -> Key:
    return Key(keys.register(scope.account, scope.livemode, object_type, object_id, None).pk, "REFETCH")


def request(scope: Scope, object_type: str, object_id: str, *, second: int, cause: str, updated_at: str) -> Update:
    """Due a little after `second`, or when it was due before. The version moves with each reason, so that an answer
    settles only the reasons that were there when it was asked for."""
    return Update(
        table=Table.RECORDS,
        key=_refetch_key(scope, object_type, object_id),
        add={"version": 1},
        set={
            "kind": "refetch",
            "account": scope.account,
            "livemode": scope.livemode,
            "object_type": object_type,
            "object_id": object_id,
            "cause": cause,
            "updated_at": updated_at,
        },
        set_once={"gsi1pk": REFETCH_INDEX, "gsi1sk": rfc3339_of(second + REFETCH_DELAY)},
    )
