"""A store, and a lake that gets rows of each change of it, as the relay sends them."""

from __future__ import annotations

import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.books import REGISTER, book_rows, has_book, snapshot_rows
from nilometer.domain.lake.change import Change, ItemAction
from nilometer.domain.store.compressed import unpack
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.domain.stripe.event import KEPT
from nilometer.flows.recovery.verify import Verification, VerifyReport
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.read.query import query
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode

NOW = datetime(2026, 12, 31, tzinfo=UTC)
FIRST_KNOWN = 1_795_000_000
_KEPT_SECONDS = int(KEPT.total_seconds())


class Books:
    """Changes are numbered in the order in which `relay` finds them; each is known a second later than the one before,
    or at `known_at`."""

    def __init__(self, store: Store, objects: Objects, folder: Path) -> None:
        self.store = store
        self.lake = Lake(uri=str(folder), storage_options={})
        ledger = Ledger(lake_uri=str(folder), storage_options={})
        self.verification = Verification(store=store, ledger=ledger, objects=objects, now=NOW)
        self.waiting: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._known: dict[Key, Item] = {}
        self._number = itertools.count(1)
        self._first = 1_000_000  # number of the stream

    def go_on_in(self, store: Store) -> None:
        """After a restore: all of another store is a change, and its stream begins with a smaller number."""
        self.store, self._known, self._first = store, {}, 0
        self.verification = replace(self.verification, store=store)

    def relay(self, *, facts: bool = False) -> None:
        """Appends the rows of all changes since, some of them twice. `facts`: those of events too."""
        self.collect(facts=facts)
        self.flush()

    def collect(self, *, facts: bool = True, known_at: int | None = None) -> None:
        """Keeps the rows of all changes since for `flush`."""
        for change in self._changes(Table.RECORDS, REGISTER, known_at):
            self._keep(book_rows(change))
        for change in self._changes(Table.EVENTS, "stripe_event", known_at) if facts else ():
            if has_book(change.item):
                told = replace(change, new={**change.item, "expires_at": change.occurred_at + _KEPT_SECONDS})
                self._keep(snapshot_rows(told, msgspec.json.decode(unpack(change.item["payload"]))))

    def flush(self) -> None:
        """Appends what was kept; what comes again is there."""
        for table, mine in self.waiting.items():
            for delivery in (mine, mine[:1]):
                self.append(table, delivery)
        self.waiting.clear()

    def append(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows as JSON values."""
        declared = ALL_TABLES[table]
        decoded = decode(declared, json.dumps(rows).encode())
        self.lake.append(declared, decoded, recorded_at=NOW, deadline=time.monotonic() + 20)

    def check(self) -> VerifyReport:
        """`nilometer verify books`."""
        [report] = self.verification.run(["books"])
        return report

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the answer."""
        return list(query(sql, lake_uri=self.lake.uri, storage_options={}).rows)

    def change(self, table: Table, key: Key, old: Item | None, new: Item, known_at: int | None = None) -> Change:
        """As the stream would say it."""
        number = next(self._number)
        return Change(
            change_id=f"c{number}",
            table=table,
            action=ItemAction.MODIFY if old else ItemAction.INSERT,
            key=key,
            old=old,
            new=new,
            sequence_number=str(self._first + number),
            occurred_at=FIRST_KNOWN + number if known_at is None else known_at,
        )

    def _changes(self, table: Table, kind: str, known_at: int | None) -> Iterator[Change]:
        for item in self.store.scan(table, kind=kind):
            key = Key(item["pk"], item["sk"])
            old = self._known.get(key)
            if item != old:
                self._known[key] = item
                yield self.change(table, key, old, item, known_at)

    def _keep(self, rows: Iterator[tuple[str, dict[str, Any]]]) -> None:
        for table, row in rows:
            self.waiting[table].append(row)
