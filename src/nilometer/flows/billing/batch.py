"""Billing: Stripe events into registers and billing records, then each event's fact.

A batch costs two reads, however many events it holds: the facts and the records that its groups need; then
transactions of as many groups as fit, and the facts of what they stored.

What if the process dies between an effect and its fact? The message comes again, finds no fact, and changes nothing:
a register takes the same event as often as it comes. What if it dies after both? The fact is found.
What if it dies between a product's register and the records that use the product? A request stands beside the
product, and the schedule goes on with it. What if a slower worker commits an older read? The versions have changed, so
its transaction fails.

`detail` of a bus envelope is the event itself, as Stripe sent it, from the webhook or from Stripe's own partner
source: a snapshot, a thin notification, or a claim that stands for a body that was too large for the bus.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.billing.group import Evidence
from nilometer.domain.billing.link import Trust
from nilometer.domain.billing.record.inputs import CATALOG, catalog_name
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.store import keys
from nilometer.domain.store.compressed import pack
from nilometer.domain.store.times import epoch, parse_rfc3339
from nilometer.domain.store.writes import Item, Key
from nilometer.domain.stripe.event import (
    INLINE_BYTES,
    KEPT,
    METER_ERRORS,
    OWN_ACCOUNT,
    THIN,
    Notification,
    Scope,
    StripeEvent,
    account_in,
    check,
    check_bounds,
    fact_item,
)
from nilometer.domain.stripe.registers.register import of_event
from nilometer.errors import NilometerError, Rejected
from nilometer.flows.billing.catalog import refold, requested
from nilometer.flows.billing.commit import ArrivedEvent, Committer, Hint, Parcels
from nilometer.flows.inbox.envelope import decode, read
from nilometer.flows.inbox.settle import inbox, settle, together

_OWN = Trust()
_HINTED = 10_000  # customers
_HINTS: WeakKeyDictionary[Store, dict[Key, Hint]] = WeakKeyDictionary()


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


def _hints(store: Store) -> dict[Key, Hint]:
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


_REQUEST_LENGTH = 255
_PARTNER = "aws.partner/stripe.com"
_BACKFILL = "nilometer.backfill"


class _StripeData(msgspec.Struct):
    """`object` is absent in a thin event whose API answer was forwarded."""

    object: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    previous_attributes: dict[str, Any] | None = None


class _Related(msgspec.Struct):
    id: str
    type: str


class _StripeWire(msgspec.Struct):
    """Both generations: `created` is a number in a snapshot event, a text in a thin one."""

    id: str
    type: str
    created: int | str
    object: str = "event"
    livemode: bool = False
    account: str | None = None
    context: str | None = None
    api_version: str | None = None
    data: _StripeData | msgspec.UnsetType | None = msgspec.UNSET
    request: dict[str, Any] | str | None = None
    related_object: _Related | None = None
    snapshot_event: str | None = None
    claim: str | None = None


def arrived(body: str, *, objects: Objects, now: datetime) -> ArrivedEvent:
    """`Rejected` with `invalid_schema`, `too_large` or `too_far_in_future` for what is not a Stripe event within our
    bounds, `wrong_mode`, or `claim_broken` of `objects.get`."""
    envelope = decode(body)
    raw = bytes(envelope.detail)
    wire = _wire(raw)
    claim = wire.claim
    if claim:
        raw = objects.get(claim)
        wire = _wire(raw)
    event = event_of(wire)
    check_bounds(event, now=epoch(now))
    known = {"source": _source(envelope.source), "received_at": envelope.time, "expires_at": epoch(now + KEPT)}

    def evidence() -> Evidence:
        return _evidence(event, _fact(event, raw, claim, objects, known))

    return ArrivedEvent(event=event, read=evidence)


def _evidence(event: StripeEvent | Notification, fact: Item) -> Evidence:
    if isinstance(event, Notification) and event.type in METER_ERRORS:
        # Of the meter nothing is kept: what counts is which events the report names, and its webhook does not.
        ours = event.scope.account == OWN_ACCOUNT  # usage is sent to no other
        return Evidence(element=None, object_type=THIN, object_id=event.id, fact=fact, fetch=ours, second=event.created)
    snapshot = isinstance(event, StripeEvent) and event.object_id
    return Evidence(
        element=of_event(event) if snapshot and isinstance(event, StripeEvent) else None,
        object_type=event.object_type or "",
        object_id=event.object_id,
        fact=fact,
        fetch=isinstance(event, Notification) and event.snapshot_event is None,
        second=event.created,
    )


def _fact(event: StripeEvent | Notification, raw: bytes, claim: str | None, objects: Objects, known: Any) -> Item:
    """A fact too large for an item puts its payload into the bucket; `claim`: where it rests already."""
    payload = pack(msgspec.json.format(raw, indent=-1))
    if len(payload) > INLINE_BYTES:
        return fact_item(event, payload=None, claim=claim or objects.put("claims", raw), **known)
    return fact_item(event, payload=payload, claim=None, **known)


def event_of(wire: _StripeWire) -> StripeEvent | Notification:
    """A snapshot, or a thin notification (`v2.core.event`). `Rejected` (`invalid_schema`) when it is neither."""
    if not wire.id or not wire.type:
        raise Rejected("invalid_schema", "the event has no id or no type")
    if wire.object == THIN:
        return _notification(wire)
    if not isinstance(wire.data, _StripeData) or isinstance(wire.data.object, msgspec.UnsetType):
        raise Rejected("invalid_schema", f"event {wire.id}: a snapshot event has `data.object`")
    if isinstance(wire.created, str):
        raise Rejected("invalid_schema", f"event {wire.id}: a snapshot event has a number as `created`")
    event = StripeEvent(
        id=wire.id,
        type=wire.type,
        scope=_scope(wire),
        created=wire.created,
        object=wire.data.object,
        previous=wire.data.previous_attributes,
        api_version=wire.api_version,
        request_id=_request(wire.request),
    )
    check(event)
    return event


def fact_key(raw: bytes) -> Key:
    """Where the fact of an event is that has been taken, by its JSON as Stripe sent it."""
    event = event_of(_wire(raw))
    return keys.stripe_event(event.scope.account, event.id)


def _wire(raw: bytes) -> _StripeWire:
    return read(raw, _StripeWire, "not a Stripe event")


def _notification(wire: _StripeWire) -> Notification:
    related = wire.related_object
    created = epoch(parse_rfc3339(wire.created)) if isinstance(wire.created, str) else wire.created
    return Notification(
        id=wire.id,
        type=wire.type,
        scope=_scope(wire),
        created=created,
        object_type=related.type if related else None,
        object_id=related.id if related else None,
        snapshot_event=wire.snapshot_event,
    )


def _scope(wire: _StripeWire) -> Scope:
    """Of `account`, else of the account of `context`: a thin event of a Connect account has no other, nor has one
    that an Organization's endpoint sends. `Rejected` (`invalid_schema`) when they name no account."""
    account = wire.account or account_in(wire.context or OWN_ACCOUNT)
    if "/" in account or not (wire.account or account == OWN_ACCOUNT or account.startswith("acct_")):
        raise Rejected("invalid_schema", f"event {wire.id}: `account` and `context` name no account of Stripe")
    return Scope(account=account, livemode=wire.livemode)


def _request(request: dict[str, Any] | str | None) -> str | None:
    """A plain id until 2017, a hash since. It is shown only, so one that is no plain id is left out."""
    value = request.get("id") if isinstance(request, dict) else request
    return value if isinstance(value, str) and len(value) <= _REQUEST_LENGTH else None


def _source(source: str) -> str:
    if source.startswith(_PARTNER):
        return "partner"
    return "backfill" if source == _BACKFILL else "webhook"
