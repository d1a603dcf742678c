"""Webhooks once more: what a workspace announced before, for one of its endpoints.

No delivery is kept for it. A change of a record announces the same events with the same ids each time it is read, and
the audit has every change: so what an endpoint missed is made again from there, also of a time when it was off or not
there yet. A receiver knows by `webhook-id` what it has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from nilometer.domain.lake.change import Change
from nilometer.domain.notices.webhook import WEBHOOK_TYPES, Webhook
from nilometer.domain.recovery.history import Step
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Table
from nilometer.flows.inbox.envelope import CloudEventWire
from nilometer.flows.lake.kinds import KINDS, announced
from nilometer.flows.notices.delivery import WebhookEnvelope

TOLD_BY = tuple(sorted(kind for (_, kind), row in KINDS.items() if row.announces.types.intersection(WEBHOOK_TYPES)))
"""Kinds of records whose changes announce what a workspace may know."""


@dataclass(frozen=True, slots=True)
class Redelivery:
    """One event for one endpoint again: `body` is as the queue has it."""

    event_id: str
    type: str
    time: str
    body: str


def redeliveries(webhook: Webhook, steps: Iterable[Step], events: Collection[str] = ()) -> Iterator[Redelivery]:
    """What the endpoint wants of these changes, in their order; of `events` those ids alone."""
    for step in steps:
        for entry in announced(_change(step)):
            event = msgspec.json.decode(entry.detail, type=CloudEventWire)
            if event.subject != webhook.workspace_id or not webhook.wants(event.type):
                continue
            if events and event.id not in events:
                continue
            envelope = WebhookEnvelope(
                source=entry.source,
                detail_type=entry.detail_type,
                time=event.time,
                detail=msgspec.Raw(entry.detail.encode()),
                webhook=webhook.id,
            )
            yield Redelivery(event.id, event.type, event.time, msgspec.json.encode(envelope).decode())


def _change(step: Step) -> Change:
    """As the stream had it, as far as an announcement needs it."""
    return Change(
        change_id="",
        table=Table.RECORDS,
        action=step.action,
        key=step.key,
        old=step.old,
        new=step.new,
        sequence_number="",
        occurred_at=epoch(step.occurred_at),
    )
