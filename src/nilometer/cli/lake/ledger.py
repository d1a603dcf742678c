"""The ledger of a stack, for commands that read history from the audit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nilometer.aws.secrets import AuditKeys
from nilometer.cli.terminal.connection import Connection
from nilometer.cli.terminal.output import note
from nilometer.errors import Unavailable
from nilometer.lake.tables.storage import storage_options

if TYPE_CHECKING:
    from nilometer.lake.read.ledger import Ledger


def ledger_of(connection: Connection) -> Ledger:
    """It leaves out rows that do not prove their origin, where the audit's key may be read."""
    from nilometer.lake.read.ledger import Ledger

    uri = connection.description.lake_uri
    return Ledger(lake_uri=uri, storage_options=storage_options(os.environ), proof_keys=_keys(connection))


def _keys(connection: Connection) -> tuple[str, ...]:
    arn = connection.resources("AWS::SecretsManager::Secret").get("AuditKey")
    if arn is None:
        return ()
    try:
        return AuditKeys.stored(connection.client("secretsmanager"), arn=arn).current()
    except Unavailable:
        note("AuditKey cannot be read, so no proofs are checked; give yourself the right to read that secret")
        return ()
