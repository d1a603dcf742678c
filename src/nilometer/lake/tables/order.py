"""The order of what the lake knows of one record or object: by time, and of one second by sequence number.

A sequence number orders within one stream. After a restore the records go on in another table, whose stream may begin
with smaller numbers (docs/restore.md); times have whole seconds, and a restore takes minutes.
"""

from __future__ import annotations

from collections.abc import Sequence

AUDIT_ORDER = ("occurred_at", "sequence_number")
"""Columns of `audit`, for the changes of one record."""
BOOK_ORDER = ("known_at", "sequence_number")
"""Columns of a book, for what the register of one object resolved to; snapshots of events have no such order."""


def newest_first(order: Sequence[str]) -> str:
    """`order` for SQL's `order by`, descending."""
    return ", ".join(f"{column} desc" for column in order)
