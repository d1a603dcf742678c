"""Billing: Stripe events into registers and billing records, then each event's fact.

A batch costs two reads, however many events it holds: the facts and the records that its groups need; then
transactions of as many groups as fit, and the facts of what they stored.

What if the process dies between an effect and its fact? The message comes again, finds no fact, and changes nothing:
a register takes the same event as often as it comes. What if it dies after both? The fact is found.
What if it dies between a product's register and the records that use the product? The message was not answered,
comes again as a duplicate, and the users are folded again. What if a slow twin commits an older read? Its
versions have moved; nothing of it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.billing.claim import Trust
from nilometer.domain.billing.record.inputs import catalog_name
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.flows.billing.arrived import ArrivedEvent, arrived
from nilometer.flows.billing.catalog import CATALOG, refold
from nilometer.flows.billing.commit import Committer, Parcels
from nilometer.flows.inbox.parcel import Parcel
from nilometer.flows.inbox.settle import inbox, settle, together

_OWN = Trust()


def handle(
    messages: Sequence[Message], *, store: Store, objects: Objects, now: datetime, trust: Trust = _OWN
) -> list[Result]:
    """One result a message, in their order; whatever one holds, the others do not notice.

    `trust` says whose objects may name workspaces: by default those of the platform's own account.
    """

    def opened(message: Message) -> ArrivedEvent:
        return arrived(message.body, objects=objects, now=now)

    def decided(parcels: Parcels) -> None:
        for one in parcels:
            event = one.content.event
            one.fields |= {"event_id": event.id, "type": event.type, "account": event.scope.account}
        try:
            Committer(store, now, trust).run(parcels)
        finally:
            _refold(store, parcels, now)

    into = inbox("billing", store=store, objects=objects, now=now)
    return settle(messages, into, open=opened, decide=decided, group=together)


def _refold(store: Store, parcels: Parcels, now: datetime) -> None:
    """Also for duplicates, should we have died between a product and its users."""
    concerned: dict[str, list[Parcel[ArrivedEvent]]] = {}
    for one in parcels:
        event = one.content.event
        if one.outcome in {Outcome.ACCEPTED, Outcome.DUPLICATE} and event.object_type in CATALOG:
            name = catalog_name(event.scope, str(event.object_type), str(event.object_id))
            concerned.setdefault(name, []).append(one)
    for name, waiting in concerned.items():
        try:
            refold(store, name, now=now)
        except Exception as error:  # noqa: BLE001  # delivered again, dropped as duplicate, folded again
            for one in waiting:
                one.fail(error)
