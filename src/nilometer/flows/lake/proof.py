"""Who may write history: the relay signs rows of the audit, the lake and `verify` check them.

A table that was made before there were proofs remembers since when they are asked for (`lake.tables.tables.added_at`).
A row of a change before that time may lack one: for `ON_THE_WAY` after it in the lake's queue, and for ever in the
table. In a table that had the column from the start no row may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from nilometer.aws.secrets import AuditKeys
from nilometer.domain.lake.proof import PROVEN_COLUMNS, are_proven, is_proven, proof
from nilometer.domain.store.times import from_epoch, parse_rfc3339
from nilometer.errors import Rejected
from nilometer.lake.tables.proven import OVERLAP, proven_content, proven_contents

if TYPE_CHECKING:  # the relay signs without the writer's libraries
    from nilometer.lake.write.rows import PackedColumns

ON_THE_WAY = timedelta(days=15)
"""How long after the upgrade a row that an older relay sent may arrive: a queue and its dead letters keep 14 days."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def signed(row: Mapping[str, Any], encoded: Callable[[Any], bytes], key: str) -> dict[str, Any]:
    """The row with its proof. `encoded` makes JSON as it will travel."""
    return {**row, "proof": proof(proven_content(_decode(encoded(row))), key)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditProofs:
    """The lake's check of rows that arrive. `since` is asked only for a row without proof."""

    keys: AuditKeys
    since: Callable[[], datetime | None]
    now: datetime

    def hold(self, rows: PackedColumns) -> bool:
        """Whether every row proves its origin, at a fifth of what `check` costs.

        False decides nothing: a proof covers JSON in one form, and here a row is taken in the form in which it came.
        """
        try:
            contents = proven_contents(map(rows.values, PROVEN_COLUMNS))
            seconds = set(zip(rows.values("created"), rows.values("occurred_at"), strict=True))
            in_order = all(parse_rfc3339(text) == from_epoch(second) for second, text in seconds)
            return in_order and are_proven(contents, rows.values("proof"), self.keys.current())
        except (Rejected, ValueError, OverflowError):
            return False

    def check(self, content: bytes) -> None:
        """`Rejected("no_proof")` for a row of the audit, as JSON, that does not prove its origin.

        `msgspec.MsgspecError` or `RecursionError` when it cannot be read.
        """
        row = _decode(content)
        given, created = row.get("proof"), row.get("created")
        if not isinstance(created, int) or not isinstance(given, str | None):
            raise Rejected("invalid_row", "created is a whole number of seconds, and proof a text")
        if given is None:
            self._check_age(created)
        elif not self._is_proven(proven_content(row), given):
            raise Rejected("no_proof", "the change does not prove that the relay sent it; it is forged or was altered")
        elif parse_rfc3339(str(row.get("occurred_at"))) != from_epoch(created):
            raise Rejected("no_proof", "occurred_at is not the second in created; it was altered")

    def _is_proven(self, content: bytes, given: str) -> bool:
        """Also by a key that is newer than what this process has read."""
        return is_proven(content, given, self.keys.current()) or is_proven(content, given, self.keys.refresh())

    def _check_age(self, created: int) -> None:
        since = self.since()
        if since is None or created > (since + OVERLAP).timestamp() or self.now > since + ON_THE_WAY:
            raise Rejected("no_proof", "the change carries no proof; only the relay's own changes are history")
