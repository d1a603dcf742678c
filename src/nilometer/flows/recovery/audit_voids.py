"""A row of the audit that is no history, taken out by a further row: the table itself is never changed."""

from __future__ import annotations

from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.lake.proof import AUDIT_VOID
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Absent, Put, Table, new_item
from nilometer.errors import Cancelled


def void_change(store: Store, change_id: str, *, actor: str, now: datetime) -> bool:
    """Puts the record that voids the row `change_id`; its own row of the audit is what readers go by.

    False when it is voided already. Atomic; may be repeated. There is no way back: a void is voided by nobody.
    """
    item = new_item(keys.audit_void(change_id), AUDIT_VOID, updated_at=rfc3339(now), actor=actor)
    try:
        store.commit([Put(table=Table.RECORDS, item=item, expected=Absent())])
    except Cancelled as error:
        if not error.condition_failed:
            raise
        return False
    return True
