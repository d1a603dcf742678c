"""Rows of a table that name a person: counted, and deleted from what readers see.

The files of before stay until upkeep vacuums them (seven days), and in a bucket that keeps versions until those expire.
A delete and an append do not conflict; one that a compaction overtook begins again when it is called again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType

from nilometer.errors import Unavailable
from nilometer.lake.tables.schema import APPEND_ONLY
from nilometer.lake.tables.tables import NO_CLEANUP

# What opening, reading and writing raises; a ValueError where a file is not as the log says.
_FAILURES = (DeltaError, OSError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamingRows:
    """The rows of one table with an id as the whole of a text or of one in JSON, or an address, which is lower case, in
    any text."""

    uri: str
    storage_options: dict[str, str]
    ids: Collection[str]
    addresses: Collection[str]
    append_only: bool
    """As the table is declared."""

    def count(self) -> int:
        """0 also for a table that is not written yet. `Unavailable` when the storage does not answer."""
        try:
            snapshot = DeltaTable(self.uri, storage_options=self.storage_options)
            predicate = self._predicate(snapshot)
            return _count(snapshot, predicate) if predicate else 0
        except TableNotFoundError:
            return 0
        except _FAILURES as error:
            raise Unavailable(f"rows of {self.uri} were not counted; run it again: {error}") from error

    def delete(self) -> int:
        """In one commit; how many. `Unavailable`: nothing was committed, call it again."""
        try:
            snapshot = DeltaTable(self.uri, storage_options=self.storage_options)
            with _deletable(snapshot, append_only=self.append_only):
                done = snapshot.delete(self._predicate(snapshot), post_commithook_properties=NO_CLEANUP)
        except _FAILURES as error:
            raise Unavailable(f"rows of {self.uri} were not deleted; run it again: {error}") from error
        return int(done["num_deleted_rows"] or 0)

    def _predicate(self, snapshot: DeltaTable) -> str:
        texts = [_name(field.name) for field in snapshot.schema().fields if field.type == PrimitiveType("string")]
        return " OR ".join(
            [f"{column} = {_text(one)}" for column in texts for one in sorted(self.ids)]
            + [f"strpos({column}, {_text(one)}) > 0" for column in texts for one in sorted(_in_json(self.ids))]
            + [f"strpos(lower({column}), {_text(one)}) > 0" for column in texts for one in sorted(self.addresses)]
        )


def _in_json(ids: Collection[str]) -> set[str]:
    """As a writer of JSON has them, with other letters than ASCII's escaped or not."""
    return {json.dumps(one, ensure_ascii=escapes) for one in ids for escapes in (True, False)}


def _count(snapshot: DeltaTable, predicate: str) -> int:
    sql = f"SELECT count(*) AS found FROM searched WHERE {predicate}"  # noqa: S608  # names and texts are quoted
    [batch] = QueryBuilder().register("searched", snapshot).execute(sql)
    return int(batch.column(0)[0].as_py())


@contextmanager
def _deletable(snapshot: DeltaTable, *, append_only: bool) -> Iterator[None]:
    """An append-only table permits one delete. If the process dies in between, it permits more until rows of it are
    erased again. A table that merges stays open."""
    if snapshot.metadata().configuration.get(APPEND_ONLY) == "true":
        snapshot.alter.set_table_properties({APPEND_ONLY: "false"}, post_commithook_properties=NO_CLEANUP)
    try:
        yield
    finally:
        if append_only:
            snapshot.alter.set_table_properties({APPEND_ONLY: "true"}, post_commithook_properties=NO_CLEANUP)


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
