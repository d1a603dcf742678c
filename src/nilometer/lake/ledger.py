"""What the lake says about the state, ordered by key and streamed: for `verify` and `history`.

DuckDB sorts and groups with a bounded memory and spills to disk, so a table may be larger than the machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

from nilometer.lake.query import BATCH_ROWS, connect

MEMORY = "1GB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Questions to one lake. Each answer is an iterator of rows, in the order of its first columns."""

    lake_uri: str
    storage_options: dict[str, str]

    def latest_images(self, *, as_of: datetime | None = None) -> Iterator[tuple[Any, ...]]:
        """(pk, sk, new_image, images_ref, occurred_at) of every record that exists at `as_of`: the fold of audit."""
        where = "table_name = 'records' and " + ("occurred_at <= $as_of" if as_of else "true")
        yield from self._rows(
            f"""
            with last as (
              select pk, sk, max_by({{'action': action, 'image': new_image, 'ref': images_ref, 'at': occurred_at}},
                                    sequence_number) as change
              from audit where {where} group by pk, sk)
            select pk, sk, change.image, change.ref, change.at from last
            where change.action in ('INSERT', 'MODIFY') order by pk, sk
            """,  # noqa: S608  # a constant condition
            as_of=as_of,
        )

    def usage_by_period(self) -> Iterator[tuple[Any, ...]]:
        """(workspace_id, meter, start, total, count, recorded_at); `start` as counters' keys have it."""
        yield from self._rows(_USAGE.format(start="strftime(used.period_start, '%Y-%m-%dT%H:%M:%S.%gZ')"))

    def usage_by_day(self) -> Iterator[tuple[Any, ...]]:
        """The same by UTC day; a void counts on the day of what it takes back."""
        yield from self._rows(_USAGE.format(start="'DAY#' || strftime(coalesce(voided.time, used.time), '%Y-%m-%d')"))

    def recount(self, workspace_id: str) -> Iterator[tuple[Any, ...]]:
        """(meter, start, total, events, max, latest, latest_at) of one workspace, by period and by day.

        Voids are netted in total and events; what was voided counts in no level.
        """
        for start in (
            "strftime(used.period_start, '%Y-%m-%dT%H:%M:%S.%gZ')",
            "'DAY#' || strftime(coalesce(voided.time, used.time), '%Y-%m-%d')",
        ):
            yield from self._rows(_RECOUNT.format(start=start), workspace_id=workspace_id)

    def stripe_events(self, *, since: datetime) -> Iterator[tuple[Any, ...]]:
        """(account, event_id, type, received_at) of what arrived since."""
        yield from self._rows(
            """select account, event_id, type, received_at from stripe_events
               where received_at >= $since order by account, event_id""",
            since=since,
        )

    def usage_events(self, *, since: datetime) -> Iterator[tuple[Any, ...]]:
        """(source, event_id, quantity, received_at) of what arrived since."""
        yield from self._rows(
            """select source, event_id, quantity, received_at from usage
               where received_at >= $since order by source, event_id""",
            since=since,
        )

    def changes(self, kind: str, key: str, *, as_of: datetime | None = None) -> Iterator[tuple[Any, ...]]:
        """(occurred_at, action, actor, cause, changed_fields, old_image, new_image, images_ref, pk, sk), in order.

        `key` is a workspace, the last part of a key (`sub_1`, a slug), or `pk/sk` in full.
        """
        yield from self._rows(
            """select occurred_at, action, actor, cause, changed_fields, old_image, new_image, images_ref, pk, sk
               from audit
               where kind = $kind and occurred_at <= coalesce($as_of, 'infinity'::timestamptz)
                 and ($key in (workspace_id, pk || '/' || sk)
                      or ends_with(pk, '#' || $key) or ends_with(sk, '#' || $key))
               order by pk, sk, sequence_number""",
            kind=kind,
            key=key,
            as_of=as_of,
        )

    def stripe_event(self, event_id: str) -> Iterator[dict[str, Any]]:
        """Rows of stripe_events but their payload: one, or one an account."""
        yield from self._named(
            "select * exclude (payload, payload_ref) from stripe_events where event_id = $event_id", event_id=event_id
        )

    def usage_event(self, event_id: str) -> Iterator[dict[str, Any]]:
        """Rows of usage with this id, and those that void it: sources may have ids in common."""
        yield from self._named(
            "select * from usage where event_id = $event_id or voids_id = $event_id", event_id=event_id
        )

    def usage_arrived(self, *, since: datetime, until: datetime, workspace_id: str | None) -> Iterator[dict[str, Any]]:
        """Rows of usage that arrived in a span of time, but not those that moved others between periods."""
        yield from self._named(
            """select * from usage
               where received_at >= $since and received_at < $until and type <> 'usage.moved.v1'
                 and workspace_id = coalesce($workspace_id, workspace_id)
               order by received_at, source, event_id""",
            since=since,
            until=until,
            workspace_id=workspace_id,
        )

    def caused(self, causes: Sequence[str], *, since: datetime) -> Iterator[dict[str, Any]]:
        """Rows of audit with one of these causes, in order."""
        yield from self._named(
            """select * from audit where event_date >= $since::date and list_contains($causes, cause)
               order by pk, sk, sequence_number""",
            causes=list(causes),
            since=since,
        )

    def written(self, pk: str, prefix: str, *, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
        """Rows of audit of some records of one partition in a span of time, in order."""
        yield from self._named(
            """select * from audit
               where event_date between $since::date and $until::date and occurred_at between $since and $until
                 and pk = $pk and starts_with(sk, $prefix)
               order by pk, sk, sequence_number""",
            pk=pk,
            prefix=prefix,
            since=since,
            until=until,
        )

    def _named(self, sql: str, **values: Any) -> Iterator[dict[str, Any]]:
        """Rows by column."""
        with tempfile.TemporaryDirectory() as spill:
            connection = connect(lake_uri=self.lake_uri, storage_options=self.storage_options)
            with connection:
                _bound(connection, Path(spill))
                for batch in connection.sql(sql, params=values).to_arrow_reader(BATCH_ROWS):
                    yield from batch.to_pylist()

    def _rows(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        with tempfile.TemporaryDirectory() as spill:
            connection = connect(lake_uri=self.lake_uri, storage_options=self.storage_options)
            with connection:
                _bound(connection, Path(spill))
                used = {name: value for name, value in values.items() if f"${name}" in sql}
                yield from _tuples(connection.sql(sql, params=used))


_USAGE = """
    select used.workspace_id, used.meter, {start} as start, sum(used.quantity) as total,
           sum(case when used.voids_id is null then 1 else -1 end)::bigint as events, max(used.recorded_at)
    from usage as used
    left join usage as voided on voided.source = used.voids_source and voided.event_id = used.voids_id
    group by all having total <> 0 or events <> 0 order by 1, 2, 3
"""

_RECOUNT = """
    with stamped as (
      select *, strftime(time, '%Y-%m-%dT%H:%M:%S.%gZ') || ' ' || source || ' ' || event_id as stamp,
             voids_id is null and not exists (
               select 1 from usage as v where v.voids_source = u.source and v.voids_id = u.event_id) as counts
      from usage as u where workspace_id = $workspace_id)
    select used.meter, {start} as start, sum(used.quantity) as total,
           sum(case when used.voids_id is null then 1 else -1 end)::bigint as events,
           max(used.quantity) filter (used.counts) as max,
           arg_max(used.quantity, used.stamp) filter (used.counts) as latest,
           max(used.stamp) filter (used.counts) as latest_at
    from stamped as used
    left join usage as voided on voided.source = used.voids_source and voided.event_id = used.voids_id
    group by 1, 2 order by 1, 2
"""


@contextmanager
def spool(columns: dict[str, str], rows: Iterable[tuple[Any, ...]]) -> Iterator[Iterator[tuple[Any, ...]]]:
    """`rows` in the order of all their columns, by way of a temporary file: a scan has no order of its own.

    `columns` are names and DuckDB types.
    """
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(str(Path(folder) / "spool.duckdb")) as connection:
        _bound(connection, Path(folder))
        declared = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        connection.execute(f"create table spool ({declared})")
        for batch in _batches(rows):
            arrow = pa.table(
                {name: list(column) for name, column in zip(columns, zip(*batch, strict=True), strict=True)}
            )
            connection.register("batch", arrow)
            connection.execute("insert into spool select * from batch")
            connection.unregister("batch")
        yield _tuples(connection.sql("from spool order by all"))


def _batches(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    batch: list[tuple[Any, ...]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _bound(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    connection.execute(f"set memory_limit = '{MEMORY}'")
    connection.execute(f"set temp_directory = '{folder / 'spill'}'")


def _tuples(relation: Any) -> Iterator[tuple[Any, ...]]:
    for batch in relation.to_arrow_reader(BATCH_ROWS):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
