"""The tables of the lake: readable by everybody, and as declared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nilometer.cli.stack.finding import Finding, fail, ok, warn
from nilometer.cli.terminal.connection import Connection
from nilometer.lake.tables.storage import storage_options

if TYPE_CHECKING:
    from nilometer.lake.write.soundness import Soundness


def lake(connection: Connection) -> Iterator[Finding]:
    """A finding for each table of the lake."""
    from nilometer.flows.lake.maintenance import all_tables
    from nilometer.lake.write.soundness import examine

    for table in all_tables(connection.store()):
        options = storage_options({**os.environ, **connection.description.environment})
        try:
            yield verdict(examine(table, lake_uri=connection.description.lake_uri, storage_options=options))
        except (OSError, ValueError) as error:
            yield fail(_check(table.name), f"cannot be opened: {error}", "Let this identity read the bucket.")


def verdict(seen: Soundness) -> Finding:
    """What a table's log and checkpoints say of it."""
    from nilometer.lake.write.soundness import READER_VERSION

    check = _check(seen.name)
    if seen.version is None:
        return ok(check, "not written yet")
    if seen.reader_version != READER_VERSION:
        return fail(
            check,
            f"reader version {seen.reader_version}, features {', '.join(seen.features) or 'none'}",
            "Find who lifted it, in the log's history: some readers cannot open it any more.",
        )
    if seen.retyped:
        return fail(check, f"other types than declared: {', '.join(seen.retyped)}", "Rebuild it; types never change.")
    if seen.strange:
        return warn(check, f"undeclared: {', '.join(seen.strange)}", "A newer version writes here: use that one.")
    if seen.missing:
        return warn(check, f"lacks {', '.join(seen.missing)}", "Deploy this version; its next append adds them.")
    if not seen.append_only:
        return warn(check, "delta.appendOnly is not as declared", "Set it: rows must not be changed by accident.")
    return ok(check, f"version {seen.version}, reader {seen.reader_version}, writer {seen.writer_version}, as declared")


def _check(name: str) -> str:
    return f"lake {name}"
