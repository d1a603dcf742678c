"""Webhooks on their way: an announcement of a workspace, from the bus to each of its endpoints, at least once.

    bus ──▶ queue ──▶ which endpoints want it ──▶ a message an endpoint ──▶ queue ──▶ sign, POST ──▶ 2xx: done
                                                                                └▶ else: again, then dead letter

Each endpoint has a message of its own, so that one that fails neither repeats nor delays another's. What fails is
delivered again by the queue, then as a dead letter, later each time (`domain.recovery.redrive`).

What if the process dies between two messages that it sends, or after the POST? The message comes again, and the
receiver sees the same `webhook-id`. What if an endpoint was changed meanwhile? It is read at each attempt: what was
deleted or switched off gets nothing more. What does a slow one do to its neighbours? Each endpoint has a thread, and
after one attempt without an answer the rest of the batch for it is not tried. What does an event that its receiver
refuses do to those behind it? Nothing: who answered is asked again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.acts.act import Act, service
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.notices.webhook import WEBHOOK_TYPES, Webhook, after_delivery, secret_ids, webhooks_of
from nilometer.domain.notices.webhook_signature import signature_headers, webhook_secret
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table, Write
from nilometer.errors import Refused, Rejected, Unavailable
from nilometer.flows.inbox.envelope import CHANGES, CloudEventWire, read
from nilometer.flows.inbox.parcel import Parcel
from nilometer.flows.inbox.races import retrying
from nilometer.flows.inbox.settle import inbox, settle, together
from nilometer.flows.notices.posting import Posted, post
from nilometer.flows.notices.webhooks import WebhookMeans

ACTOR = "nilometer.webhooks"
SECONDS = 15.0  # after which a batch posts no more, so that it returns before the function's time is over
AT_ONCE = 10
MEDIA_TYPE = "application/cloudevents+json"


class Sends(Protocol):
    """What takes messages: a queue."""

    def send(self, bodies: Sequence[str], *, group: str) -> None:
        """All of them, or `Unavailable`; those of one `group` do not delay others."""


class WebhookEnvelope(msgspec.Struct, kw_only=True, rename="kebab"):
    """As the bus delivers an event, or as we send it on to one `webhook`."""

    source: str
    detail_type: str
    time: str
    detail: msgspec.Raw
    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class AnnouncedMessage:
    """One announcement of a workspace, for one endpoint or, from the bus, for all that want it."""

    envelope: WebhookEnvelope
    event_id: str
    workspace_id: str

    @property
    def place(self) -> tuple[str, str]:
        """Where it goes: those of one place are tried one after the other."""
        return self.workspace_id, self.envelope.webhook or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryMeans:
    """What a delivery needs; `monotonic` is another one in tests."""

    store: Store
    queue: Sends
    webhooks: WebhookMeans
    now: Callable[[], datetime]
    monotonic: Callable[[], float] = time.monotonic


def handle(messages: Sequence[Message], means: DeliveryMeans, *, objects: Objects) -> list[Result]:
    """One result a message, in their order: IGNORED where no endpoint wants it, FAILED where it did not take it."""
    into = inbox("notices", store=means.store, objects=objects, now=means.now())
    return settle(messages, into, open=_open, decide=lambda parcels: _deliver(parcels, means), group=together)


def _open(message: Message) -> AnnouncedMessage:
    envelope = read(message.body, WebhookEnvelope, "not an event of the bus")
    event = read(envelope.detail, CloudEventWire, "not an event of the bus")
    if envelope.source != CHANGES or event.type not in WEBHOOK_TYPES or not event.subject:
        raise Rejected("invalid_schema", "webhooks are only for announcements of a workspace")
    return AnnouncedMessage(envelope, event.id, event.subject)


def _deliver(parcels: Sequence[Parcel[AnnouncedMessage]], means: DeliveryMeans) -> None:
    """The endpoints of a batch at the same time, and what is for one of them in the order of the batch."""
    until = means.monotonic() + SECONDS
    places: dict[tuple[str, str], list[Parcel[AnnouncedMessage]]] = {}
    for parcel in parcels:
        parcel.fields |= {"event_id": parcel.content.event_id, "workspace_id": parcel.content.workspace_id}
        places.setdefault(parcel.content.place, []).append(parcel)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for done in [threads.submit(_one_place, group, means, until) for group in places.values()]:
            done.result()


def _one_place(parcels: Sequence[Parcel[AnnouncedMessage]], means: DeliveryMeans, until: float) -> None:
    for parcel in parcels:
        if means.monotonic() >= until:
            parcel.settle(Outcome.FAILED, error="no time was left for it in this batch")
            continue
        if not (_send if parcel.content.envelope.webhook else _spread)(parcel, means):
            until = float("-inf")


def _spread(parcel: Parcel[AnnouncedMessage], means: DeliveryMeans) -> bool:
    """A message for each endpoint that wants the event."""
    message = parcel.content
    item = _record(means.store, message.workspace_id)
    wanted = [one for one in webhooks_of(item) if one.wants(message.envelope.detail_type)]
    for one in wanted:
        told = msgspec.structs.replace(message.envelope, webhook=one.id)
        means.queue.send([msgspec.json.encode(told).decode()], group=f"{message.workspace_id}/{one.id}")
    parcel.settle(Outcome.ACCEPTED if wanted else Outcome.IGNORED, endpoints=len(wanted))
    return True


def _send(parcel: Parcel[AnnouncedMessage], means: DeliveryMeans) -> bool:
    """False when the endpoint did not answer: what follows for it in this batch is not tried."""
    message = parcel.content
    parcel.fields["webhook"] = message.envelope.webhook or ""
    item = _record(means.store, message.workspace_id)
    found = [one for one in webhooks_of(item) if one.id == message.envelope.webhook]
    if item is None or not found or found[0].off is not None:
        parcel.settle(Outcome.IGNORED)
        return True
    answered = _posted(found[0], item, message, means)
    _note(found[0], item, answered, means)
    if answered.delivered:
        parcel.settle(Outcome.ACCEPTED)
    elif answered.gone:
        parcel.settle(Outcome.IGNORED, reason="gone")
    else:
        parcel.settle(Outcome.FAILED, error=answered.reason or f"answered {answered.status}")
    return answered.status is not None


def _posted(webhook: Webhook, item: Item, message: AnnouncedMessage, means: DeliveryMeans) -> Posted:
    now, key = means.now(), means.webhooks.key()
    secrets = [webhook_secret(key, webhook, name) for name in secret_ids(item, webhook.id, now)]
    body = bytes(message.envelope.detail)
    signed: Mapping[str, str] = signature_headers(secrets, message.event_id, body, now)
    headers = {**signed, "content-type": MEDIA_TYPE, "user-agent": "nilometer"}
    return post(webhook.url, body, headers, loopback=means.webhooks.loopback)


def _note(webhook: Webhook, item: Item, answered: Posted, means: DeliveryMeans) -> None:
    """Since when it fails, read again when another endpoint of the workspace was faster. What cannot be stored now the
    next attempt notes."""
    if not _changes(webhook, item, answered, means):
        return

    def attempt() -> None:
        fresh = _record(means.store, webhook.workspace_id)
        for one in webhooks_of(fresh):
            if fresh and one.id == webhook.id and one.off is None and one.url == webhook.url:
                means.store.commit(_changes(one, fresh, answered, means))

    with contextlib.suppress(Unavailable):
        retrying(attempt)


def _changes(webhook: Webhook, item: Item, answered: Posted, means: DeliveryMeans) -> list[Write]:
    act = Act(caller=service(webhook.workspace_id, ACTOR), now=means.now(), chance=b"")
    return after_delivery(act, item, webhook, delivered=answered.delivered, gone=answered.gone)


def _record(store: Store, workspace_id: str) -> Item | None:
    """The webhooks of a workspace that is open."""
    place, own = keys.workspace(workspace_id), keys.webhooks(workspace_id)
    stored = store.batch_get(Table.RECORDS, [place, own], consistent=True)
    try:
        check_open(stored.get(place), workspace_id)
    except Refused:
        return None
    return stored.get(own)
