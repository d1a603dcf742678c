"""Which facts a workspace has, as a function that has no DuckDB asks the lake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from deltalake import QueryBuilder

from nilometer.domain.lake.tables import PARTITION, USAGE
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.usage.rebucket import MOVED
from nilometer.lake.tables.tables import open_or_create
from nilometer.lake.write.append import Lake


def usage_identities(lake: Lake, workspace_id: str, since: datetime) -> Iterator[tuple[str, str]]:
    """(source, event_id) of what was used since and is neither a void nor a move. Streams; reads the days since."""
    sql = f"""select source, event_id from usage
              where {PARTITION} >= date '{rfc3339(since)[:10]}' and created >= {epoch(since)}
                and workspace_id = {_quoted(workspace_id)} and voids_id is null and type <> '{MOVED}'"""  # noqa: S608  # our own names and a quoted text
    snapshot = open_or_create(lake.uri, USAGE, lake.storage_options)
    for batch in QueryBuilder().register("usage", snapshot).execute(sql):
        yield from zip(batch.column("source").to_pylist(), batch.column("event_id").to_pylist(), strict=True)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
