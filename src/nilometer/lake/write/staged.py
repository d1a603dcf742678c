"""Data files in a table's folder that belong to no version yet, and the commit that adds them.

Writing them is most of what an append costs, and does not depend on what else is committed meanwhile: so it is done
once, and only the commit is repeated when another one came first. Files that no commit ever named are nobody's rows;
maintenance removes them. delta-rs writes into a table of the same schema in a folder of this machine, which gives the
files their statistics, and they are put into the table from there. Delta's own client needs three requests for each
file, so a function gives a `PutFile` that needs one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from arro3.core import Table
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake._internal import DeltaFileSystemHandler
from deltalake.transaction import AddAction

from nilometer.lake.tables.tables import NO_CLEANUP

PutFile = Callable[[str, bytes], None]
"""Stores a content as `s3://bucket/key`, whole or not at all; raises when it did not, or when nobody knows."""
_COMMIT_RETRIES = 100  # against commits that carry none of the transactions


def stage(
    snapshot: DeltaTable, rows: Table, properties: WriterProperties, put: PutFile | None = None
) -> list[AddAction]:
    """The rows as files in the table's folder, by names that nobody else uses. Raises what delta-rs or `put` does."""
    with tempfile.TemporaryDirectory() as folder:
        metadata = snapshot.metadata()
        local = DeltaTable.create(
            folder,
            snapshot.schema(),
            partition_by=metadata.partition_columns,
            configuration=dict(metadata.configuration),
        )
        write_deltalake(local, rows, mode="append", writer_properties=properties, post_commithook_properties=NO_CLEANUP)
        files = list(_added(Path(folder)))
        write = put or _by_delta(snapshot)
        for file in files:
            write(f"{snapshot.table_uri.rstrip('/')}/{file.path}", (Path(folder) / file.path).read_bytes())
    return files


def _added(folder: Path) -> Iterator[AddAction]:
    """As the one commit of the table in `folder` names them."""
    for line in (folder / "_delta_log" / f"{1:020}.json").read_text().splitlines():
        if added := json.loads(line).get("add"):
            yield AddAction(
                path=added["path"],
                size=added["size"],
                partition_values=added["partitionValues"],
                modification_time=added["modificationTime"],
                data_change=True,
                stats=added["stats"],
            )


def _by_delta(snapshot: DeltaTable) -> PutFile:
    """Into any store that delta-rs knows: on S3 an upload in parts, three requests."""
    store = DeltaFileSystemHandler.from_table(snapshot._table)  # noqa: SLF001  # the table's own, with its credentials

    def put(uri: str, content: bytes) -> None:
        stream = store.open_output_stream(uri.removeprefix(f"{snapshot.table_uri.rstrip('/')}/"), None)
        stream.write(content)
        stream.close()  # type: ignore[attr-defined]  # it has it

    return put


def commit(snapshot: DeltaTable, files: Sequence[AddAction], transactions: Sequence[Transaction]) -> None:
    """Makes the files rows of the table. `CommitFailedError` when another commit since `snapshot` carried one of
    `transactions`; whatever else is raised, the commit may have landed."""
    snapshot.create_write_transaction(
        list(files),
        "append",
        snapshot.schema(),
        partition_by=snapshot.metadata().partition_columns,
        commit_properties=CommitProperties(app_transactions=list(transactions), max_commit_retries=_COMMIT_RETRIES),
        post_commithook_properties=NO_CLEANUP,
    )
