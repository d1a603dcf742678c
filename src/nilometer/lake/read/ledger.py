"""What the lake says about the state, ordered by key and streamed: for `verify` and `history`.

DuckDB groups and sorts what is narrow, with a bounded memory; images go past it, through `ordered`. So a table may be
larger than the machine.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # as above

from nilometer.domain.lake.books import HISTORY, SNAPSHOT
from nilometer.domain.lake.proof import AUDIT_VOID
from nilometer.domain.lake.redaction import id_text
from nilometer.domain.lake.tables import AUDIT
from nilometer.domain.store import keys
from nilometer.lake.read.ordering import ordered
from nilometer.lake.read.query import connect, dataset
from nilometer.lake.read.trust import AUDITED, AuditJudge, proofs_since
from nilometer.lake.tables.order import AUDIT_ORDER

MEMORY = "1GB"
_IN_ORDER = ("pk", "sk", *AUDIT_ORDER)
"""Columns that order the rows of audit: by record, and its changes as they happened."""
_ORDER_BY = ", ".join(_IN_ORDER)
STEP = (
    *_IN_ORDER,
    *("change_id", "kind", "action", "cause", "changed_fields", "old_image", "new_image", "images_ref"),
)
BATCH_ROWS = 1_000  # an image has up to 400 KB


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Questions to one lake. Each answer is an iterator of rows, in the order of its first columns."""

    lake_uri: str
    storage_options: dict[str, str]
    proof_keys: tuple[str, ...] = ()
    """Of the audit's proofs. With them rows that do not prove their origin, or were voided, are no history."""

    def origins(self) -> Iterator[tuple[str, str, str, bool]]:
        """(pk, sk, change_id, trusted) of every row of audit, in no order; none without `proof_keys`.

        A voided row is trusted: who voided it has seen to it.
        """
        if not self.proof_keys:
            return
        judge = self._judge()
        for row in self._audit_rows(AUDITED, pc.scalar(True)):
            yield row["pk"], row["sk"], row["change_id"], row["change_id"] in judge.voided or judge.is_trusted(row)

    def latest_images(self, *, as_of: datetime | None = None) -> Iterator[tuple[Any, ...]]:
        """(pk, sk, new_image, images_ref, occurred_at) of every record that exists at `as_of`: the fold of audit."""
        columns = (*_IN_ORDER, "action", "new_image", "images_ref")
        changes = self._audit(columns, (pc.field("table_name") == "records") & _until(as_of))
        for pk, sk, at, _, action, *image in ordered(changes, by=len(_IN_ORDER), fold=_last_of_each_record):
            if action in {"INSERT", "MODIFY"}:
                yield pk, sk, *image, at

    def steps(self) -> Iterator[dict[str, Any]]:
        """Every row of audit of a record, in the order of the changes of each, with its images as JSON text."""
        for row in ordered(self._audit(STEP, pc.field("table_name") == "records"), by=len(_IN_ORDER)):
            yield dict(zip(STEP, row, strict=True))

    def void_ids(self) -> Iterator[str]:
        """The ids of all voids and of rows that move a fact."""
        for (event_id,) in self._rows("select distinct event_id from usage where voids_id is not null"):
            yield event_id

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

    def book(self, name: str, owner: str | None = None) -> Iterator[dict[str, Any]]:
        """The current state of each object of a book (`subscriptions`), ordered by account, mode and id; of the parts
        of others (`subscription_items`) by the id in the column `owner` before."""
        id_ = f"{owner} || '/' || object_id" if owner else "object_id"
        yield from self._named(f"select * from {name} order by account, livemode::varchar, {id_}")  # noqa: S608  # our own names

    def book_began(self, name: str) -> datetime | None:
        """When the first row of a book was known; None while it has none."""
        [began] = self._rows(f"select min(known_at) from {name}{HISTORY} where origin <> '{SNAPSHOT}'")  # noqa: S608  # our own name
        return cast("datetime | None", began[0])

    def changes(
        self, kind: str, key: str, *, since: datetime | None = None, as_of: datetime | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """(pk, sk, occurred_at, sequence_number, action, actor, cause, old_image, new_image, images_ref), in order.

        `key` is a workspace, the last part of a key (`sub_1`, a slug), or `pk/sk` in full.
        """
        columns = (*_IN_ORDER, "action", "actor", "cause")
        pk, sk = pc.field("pk"), pc.field("sk")
        named = (
            (pc.field("workspace_id") == key)
            | (pc.binary_join_element_wise(pk, sk, "/") == key)
            | pc.ends_with(pk, f"#{key}")
            | pc.ends_with(sk, f"#{key}")
        )
        rows = self._audit(
            (*columns, "old_image", "new_image", "images_ref"),
            (pc.field("kind") == kind) & named & _since(since) & _until(as_of),
        )
        yield from ordered(rows, by=len(_IN_ORDER))

    def stripe_event(self, event_id: str) -> Iterator[dict[str, Any]]:
        """Rows of stripe_events but their payload: one, or one an account."""
        yield from self._named(
            "select * exclude (payload, payload_ref) from stripe_events where event_id = $event_id", event_id=event_id
        )

    def stripe_events_of(self, customer_ids: Sequence[str], *, account: str) -> Iterator[dict[str, Any]]:
        """Rows of stripe_events of some customers, and of objects that have none, with their payload, oldest first."""
        yield from self._named(
            """select * from stripe_events
               where account = $account and (customer_id is null or list_contains($customer_ids, customer_id))
               order by received_at, event_id""",
            account=account,
            customer_ids=list(customer_ids),
        )

    def records_before(self, pk: str, *, kinds: Sequence[str], until: datetime) -> Iterator[dict[str, Any]]:
        """Rows of audit of the records of one partition, and of every meter, of these kinds, in the order of change."""
        yield from self._named(
            f"""select * from audit
               where table_name = 'records' and occurred_at < $until and list_contains($kinds, kind)
                 and (pk = $pk or kind = 'meter')
               order by {_ORDER_BY}""",  # noqa: S608  # our own columns
            pk=pk,
            kinds=list(kinds),
            until=until,
        )

    def usage_event(self, event_id: str) -> Iterator[dict[str, Any]]:
        """Rows of usage with this id, and those that void it: sources may have ids in common.

        Two questions: of one with OR, DuckDB reads all rows and looks into no Bloom filter.
        """
        yield from self._named(
            """select * from usage where event_id = $event_id
               union all
               select * from usage where voids_id = $event_id and event_id <> $event_id""",
            event_id=event_id,
        )

    def usage_arrived(self, *, since: datetime, until: datetime, workspace_id: str | None) -> Iterator[dict[str, Any]]:
        """Rows of usage that arrived in a span of time, but not those that moved others between periods."""
        return self._usage("received_at", since=since, until=until, workspace_id=workspace_id)

    def usage_recorded(self, *, since: datetime, until: datetime, workspace_id: str | None) -> Iterator[dict[str, Any]]:
        """The same of rows that the lake got in a span of time, however early they arrived."""
        return self._usage("recorded_at", since=since, until=until, workspace_id=workspace_id)

    def _usage(self, time: str, **given: Any) -> Iterator[dict[str, Any]]:
        yield from self._named(
            f"""select * from usage
               where {time} >= $since and {time} < $until and type <> 'usage.moved.v1'
                 and workspace_id = coalesce($workspace_id, workspace_id)
               order by received_at, source, event_id""",  # noqa: S608  # one of two columns
            **given,
        )

    def caused(self, causes: Sequence[str], *, since: datetime) -> Iterator[dict[str, Any]]:
        """Rows of audit with one of these causes, in order."""
        yield from self._named(
            f"""select * from audit where event_date >= $since::date and list_contains($causes, cause)
               order by {_ORDER_BY}""",  # noqa: S608  # our own columns
            causes=list(map(id_text, causes)),
            since=since,
        )

    def written(
        self, pk: str, prefixes: Sequence[str], *, since: datetime, until: datetime
    ) -> Iterator[dict[str, Any]]:
        """Rows of audit of one partition's records whose sort key begins so, in a span of time, in order."""
        yield from self._named(
            f"""select * from audit
               where event_date between $since::date and $until::date and occurred_at between $since and $until
                 and pk = $pk
                 and list_bool_or(list_transform($prefixes, lambda prefix: starts_with(sk, prefix)))
               order by {_ORDER_BY}""",  # noqa: S608  # our own columns
            pk=pk,
            prefixes=list(prefixes),
            since=since,
            until=until,
        )

    def _audit(self, columns: Sequence[str], condition: pc.Expression) -> Iterator[tuple[Any, ...]]:
        """Rows in no order, a few at a time of four files at once: images are wide, and DuckDB would read ahead by the
        hundred thousand rows."""
        if not self.proof_keys:
            yield from _tuples(self._scanned(columns, condition))
            return
        judge = self._judge()
        for row in self._audit_rows(dict.fromkeys((*columns, *AUDITED)), condition):
            if row["change_id"] not in judge.voided and judge.is_trusted(row):
                yield tuple(row[name] for name in columns)

    def _scanned(self, columns: Sequence[str], condition: pc.Expression) -> Iterator[pa.RecordBatch]:
        scanner = dataset(AUDIT, lake_uri=self.lake_uri, storage_options=self.storage_options).scanner(
            columns=list(columns), filter=condition, batch_size=BATCH_ROWS, batch_readahead=1
        )
        return cast("Iterator[pa.RecordBatch]", scanner.to_batches())

    def _audit_rows(self, columns: Iterable[str], condition: pc.Expression) -> Iterator[dict[str, Any]]:
        """By name; a column that an older table has not is null."""
        stored = set(dataset(AUDIT, lake_uri=self.lake_uri, storage_options=self.storage_options).schema.names)
        lacking = dict.fromkeys(name for name in columns if name not in stored)
        for batch in self._scanned([name for name in columns if name in stored], condition):
            for row in batch.to_pylist():
                yield {**row, **lacking}

    def _judge(self) -> AuditJudge:
        judge = AuditJudge(self.proof_keys, proofs_since(self.lake_uri, self.storage_options))
        voids = self._audit_rows(AUDITED, pc.field("kind") == AUDIT_VOID)
        judge.voided.update(keys.voided_change(row["pk"]) for row in voids if judge.is_proven(row))
        return judge

    def _named(self, sql: str, **values: Any) -> Iterator[dict[str, Any]]:
        """Rows by column."""
        with tempfile.TemporaryDirectory() as spill:
            connection = connect(lake_uri=self.lake_uri, storage_options=self.storage_options, naming=sql)
            with connection:
                _bound(connection, Path(spill))
                for batch in connection.sql(sql, params=values).to_arrow_reader(BATCH_ROWS):
                    yield from batch.to_pylist()

    def _rows(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        with tempfile.TemporaryDirectory() as spill:
            connection = connect(lake_uri=self.lake_uri, storage_options=self.storage_options, naming=sql)
            with connection:
                _bound(connection, Path(spill))
                used = {name: value for name, value in values.items() if f"${name}" in sql}
                yield from _tuples(connection.sql(sql, params=used).to_arrow_reader(BATCH_ROWS))


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


def _since(begin: datetime | None) -> pc.Expression:
    return pc.field("occurred_at") >= pa.scalar(begin, pa.timestamp("us", "UTC")) if begin else pc.scalar(True)


def _until(as_of: datetime | None) -> pc.Expression:
    return pc.field("occurred_at") <= pa.scalar(as_of, pa.timestamp("us", "UTC")) if as_of else pc.scalar(True)


def _last_of_each_record(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for _, changes in groupby(rows, key=itemgetter(0, 1)):
        yield deque(changes, maxlen=1)[0]


def _bound(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    connection.execute(f"set memory_limit = '{MEMORY}'")
    connection.execute(f"set temp_directory = '{folder / 'spill'}'")


def _tuples(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
