"""A request to fold all records that use a product, price or feature again: one for each, however often it changes."""

from __future__ import annotations

from nilometer.domain.billing.record.inputs import catalog_key
from nilometer.domain.store.writes import Key, Table, Update

REFOLD_INDEX = "REFOLD"  # gsi1pk of the requests; gsi1sk is when the last change came


def refold_key(name: str) -> Key:
    """Beside the register of "account/mode/product/id"."""
    return Key(catalog_key(name).pk, "REFOLD")


def refold_request(name: str, *, cause: str, updated_at: str) -> Update:
    """Goes with the change itself. It begins at the first user; the version moves, so that whoever works on an older
    change cannot remove it."""
    return Update(
        table=Table.RECORDS,
        key=refold_key(name),
        add={"version": 1},
        set={
            "kind": "refold",
            "name": name,
            "after": None,
            "cause": cause,
            "updated_at": updated_at,
            "gsi1pk": REFOLD_INDEX,
            "gsi1sk": updated_at,
        },
    )
