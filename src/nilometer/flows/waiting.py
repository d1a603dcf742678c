"""Usage of a workspace that is not known yet: kept until it is.

What if the workspace is created at this very moment? The checks and the puts are one transaction: either the
creation finds what waits, or the puts are cancelled and the events are counted at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from nilometer.domain import keys
from nilometer.domain.outcome import Outcome
from nilometer.domain.usage import waiting
from nilometer.domain.writes import Absent, Check, Put, Table
from nilometer.errors import Unavailable
from nilometer.flows.candidate import ATTEMPTS, Batch, Candidate, note, settle

TOGETHER = 90  # in one transaction; an event has at most 16 KB, a transaction 4 MB


def wait(batch: Batch, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Keeps events of one unknown workspace; returns the unsettled when the workspace is known by now."""
    for start in range(0, len(candidates), TOGETHER):
        if not _keep(batch, candidates[start : start + TOGETHER]):
            return [one for one in candidates if one.outcome is Outcome.FAILED]
    return []


def _keep(batch: Batch, chunk: Sequence[Candidate]) -> bool:
    """False when the workspace is known by now."""
    workspace_id = chunk[0].event.workspace_id
    unknown = [
        Check(table=Table.RECORDS, key=key(workspace_id), expected=Absent()) for key in (keys.workspace, keys.billing)
    ]
    pending = list(chunk)
    for attempt in range(ATTEMPTS):
        if not pending or batch.expired:
            return True
        puts = [_put(one) for one in pending]
        try:
            batch.store.commit([*puts, *unknown])
        except Unavailable as error:
            note(pending, error)
            batch.pause(attempt)
            if batch.known.tenants([workspace_id], fresh=True):
                return False
            pending = _not_waiting(batch, pending, puts)
        else:
            settle(pending, Outcome.WAITING)
            return True
    return True


def _put(one: Candidate) -> Put:
    event = one.event
    return waiting(
        event.workspace_id,
        event.source,
        event.id,
        payload=one.payload.decode(),
        payload_hash=event.payload_hash,
        received_at=one.received_at,
    )


def _not_waiting(batch: Batch, candidates: Sequence[Candidate], puts: Sequence[Put]) -> list[Candidate]:
    """Settles the candidates that wait already and returns the others."""
    wanted = [put.key for put in puts]
    stored = batch.store.batch_get(Table.EVENTS, wanted, consistent=True, attributes=("payload_hash",))
    for one, put in zip(candidates, puts, strict=True):
        if put.key in stored:
            one.settle(stored[put.key]["payload_hash"], Outcome.WAITING)
    return [one for one in candidates if one.outcome is Outcome.FAILED]
