"""Billing: Stripe events into registers and billing records, then each event's fact.

A batch costs two reads, however many events it holds: the facts and the records that its groups need; then
transactions of as many groups as fit, and the facts of what they stored.

What if the process dies between an effect and its fact? The message comes again, finds no fact, and changes nothing:
a register takes the same event as often as it comes. What if it dies after both? The fact is found.
What if it dies between a product's register and the records that use the product? A request stands beside the
product, and the schedule goes on with it. What if a slow twin commits an older read? Its
versions have moved; nothing of it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from weakref import WeakKeyDictionary

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.billing.claim import Trust
from nilometer.domain.billing.record.inputs import CATALOG, catalog_name
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.store.writes import Key
from nilometer.errors import NilometerError
from nilometer.flows.billing.arrived import ArrivedEvent, arrived
from nilometer.flows.billing.catalog import refold, requested
from nilometer.flows.billing.commit import Committer, Parcels
from nilometer.flows.inbox.settle import inbox, settle, together

_OWN = Trust()
_HINTED = 10_000  # customers
_HINTS: WeakKeyDictionary[Store, dict[Key, list[Key]]] = WeakKeyDictionary()


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
            Committer(store, now, trust, _hints(store)).run(parcels)
        finally:
            _refold(store, parcels, now)

    into = inbox("billing", store=store, objects=objects, now=now)
    return settle(messages, into, open=opened, decide=decided, group=together)


def _hints(store: Store) -> dict[Key, list[Key]]:
    """Of this process; forgotten when they are too many."""
    hints = _HINTS.setdefault(store, {})
    if len(hints) > _HINTED:
        hints.clear()
    return hints


def _refold(store: Store, parcels: Parcels, now: datetime) -> None:
    """The first page of the records that use what changed, also for duplicates: we may have died before. The schedule
    does the rest, and what fails here."""
    concerned = {
        catalog_name(event.scope, str(event.object_type), str(event.object_id))
        for one in parcels
        for event in [one.content.event]
        if one.outcome in {Outcome.ACCEPTED, Outcome.DUPLICATE} and event.object_type in CATALOG
    }
    try:
        for name in requested(store, sorted(concerned)) if concerned else ():
            refold(store, name, now=now, pages=1)
    except NilometerError:  # nothing is lost with it: the request stands beside the product
        return
