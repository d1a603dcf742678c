"""What names a person in the two tables of DynamoDB, with the payloads that their items refer to in the bucket.

What if the process dies between a redacted fact and its old claim? No item names the claim then, and the search of
the bucket finds it. What if the relay has not read the fact yet? The stream holds it as it was; only a claim must stay
until then, so a fact with a claim waits for a day.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from functools import partial
from urllib.parse import unquote

import msgspec

from nilometer.domain.acts.act import service
from nilometer.domain.lake import redaction
from nilometer.domain.people.attachment import AttachmentPurpose, RemoveAttachment, is_kept
from nilometer.domain.recovery import refused
from nilometer.domain.recovery.erasure import ErasureVerdict, Fate, Person, of_event, of_record, with_payload
from nilometer.domain.store.compressed import pack
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Item, Table
from nilometer.domain.stripe.event import INLINE_BYTES
from nilometer.errors import Rejected
from nilometer.flows.lake.kinds import raw_payload
from nilometer.flows.people.acting import perform
from nilometer.flows.privacy.found import Found, Places

SETTLED = timedelta(days=1)
"""How long a stream, or an undelivered message, may still request an object of the bucket."""
ERASER = "nilometer erase"
_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def identified(places: Places, person: Person) -> Person:
    """Also known as the Stripe customers whose events name one of the addresses. Reads Stripe's facts whole."""
    places.progress("customers of the addresses")
    facts = places.store.scan(Table.EVENTS, kind="stripe_event") if person.addresses else ()
    named = (one for one in facts if one.get("customer_id") and person.has_address_in(_payload(places, one).decode()))
    return person.known_as(*(str(one["customer_id"]) for one in named))


def in_events(places: Places, person: Person, claims: set[str]) -> Iterator[Found]:
    """Facts and rejects that name the person, each with how it is erased. Reads the table whole, and adds the object
    that each item names to `claims`."""
    places.progress("events table")
    for item in places.store.scan(Table.EVENTS):
        if "claim" in item:
            claims.add(item["claim"])
        payload = _payload(places, item)
        if person.is_named_in([item, payload]):
            yield _fact(places, item, payload) if item["kind"] == "stripe_event" else _event(places, item)


def in_records(places: Places, person: Person) -> Iterator[Found]:
    """Records that name the person, each with how it is erased. Reads the table whole."""
    places.progress("records table")
    for item in places.store.scan(Table.RECORDS):
        if person.is_named_in(item):
            yield _record(places, item, person)


def _payload(places: Places, item: Item) -> bytes:
    """Of a fact of Stripe, or of a large reject; empty when there is none, or the bucket does not have it any more."""
    try:
        if item["kind"] == "stripe_event":
            return raw_payload(item, places.objects)
        return places.objects.get(item["claim"]) if "claim" in item else b""
    except Rejected:
        return b""


def _fact(places: Places, item: Item, payload: bytes) -> Found:
    redacted = _redacted(payload)
    if redacted is None:
        return _found("events table", item, Fate.KEEP, "holds ids, amounts and states")
    if "claim" in item and parse_rfc3339(item["received_at"]) > places.now - SETTLED:
        return _found("events table", item, Fate.LATER, "its claim may still be read: run this again after a day")
    return _found("events table", item, Fate.ERASE, "redacted as in the lake", partial(_redact, places, item, redacted))


def _redacted(payload: bytes) -> bytes | None:
    """None when there is nothing to redact, or nothing at all."""
    event = _decode(payload) if payload else None
    bare = redaction.stripe_payload(event)
    return None if bare == event else _encode(bare)


def _redact(places: Places, item: Item, redacted: bytes) -> None:
    packed = pack(redacted)
    small = len(packed) <= INLINE_BYTES
    place = {"payload": packed} if small else {"claim": places.objects.put("claims", packed)}
    places.store.commit([with_payload(item, place)])
    if "claim" in item:
        places.objects.delete(item["claim"])


def _event(places: Places, item: Item) -> Found:
    verdict = of_event(item, now=places.now)
    return _found("events table", item, verdict.fate, verdict.why, partial(_write, places, item, verdict))


def _record(places: Places, item: Item, person: Person) -> Found:
    if item["kind"] == "attachment" and is_kept(item) and item["added_by"] in person.ids:
        why = "removed; nilometer attachment sweep deletes its content"
        return _found("records table", item, Fate.ERASE, why, partial(_detach, places, item))
    verdict = of_record(item, person)
    return _found("records table", item, verdict.fate, verdict.why, partial(_write, places, item, verdict))


def _write(places: Places, item: Item, verdict: ErasureVerdict) -> None:
    if item["kind"] == "reject":
        places.store.commit([refused.mark(refused.of_item(item), "dismissed", actor=ERASER, now=places.now)])
    places.store.commit(verdict.writes)
    if "claim" in item:
        places.objects.delete(item["claim"])


def _detach(places: Places, item: Item) -> None:
    workspace_id = unquote(item["pk"].removeprefix("WORKSPACE#"))
    deed = RemoveAttachment(purpose=AttachmentPurpose(item["purpose"]), sha256=item["sha256"])
    perform(places.store, service(workspace_id, ERASER), deed, now=places.now)


def _found(place: str, item: Item, fate: Fate, why: str, erase: partial[None] | None = None) -> Found:
    name = " ".join(redaction.id_text(str(part)) for part in (item["pk"], item["sk"]))
    return Found(
        place=place, kind=item["kind"], name=name, fate=fate, why=why, erase=erase if fate is Fate.ERASE else None
    )
