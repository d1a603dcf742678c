"""E-mail: a notification whose person wants it there, from the bus to Amazon SES, at most once.

    a notification is put ──▶ bus ──▶ queue ──▶ still wanted? ──▶ whose address? ──▶ claim ──▶ SES ──▶ mark

What if the process dies before the claim? The message comes again. Between claim and mark? SES may have the mail or
not, and nobody can ask it: no second one is sent, and the message is kept as a reject (`mail_uncertain`), so that an
operator sees it; the notification stands in the notification center, if its person wants it there. What if SES says
no? The claim is released and the message comes again, then as a dead letter. What if the person says no on the way, or
leaves the workspace, or it is deleted? All of it is read again before each attempt.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.aws.ses import MailRefused
from nilometer.domain.acts.act import Act, service
from nilometer.domain.acts.records import alive
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.notices.mail import (
    Mail,
    MailState,
    Recipient,
    claimed,
    mail_of,
    mail_state,
    mailed,
    released,
)
from nilometer.domain.notices.preference import TO_MEMBERS, Channel, candidates, channels_on
from nilometer.domain.people.membership import membership_of
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Item, Key, Put, Table
from nilometer.errors import Refused, Rejected, Unavailable
from nilometer.flows.inbox.envelope import decode, read
from nilometer.flows.inbox.parcel import Parcel
from nilometer.flows.inbox.races import retrying
from nilometer.flows.inbox.settle import inbox, settle
from nilometer.flows.notices.addresses import Addresses

ACTOR = "nilometer.mail"
SECONDS = 9.0  # after which a batch begins no mail more: a claim must never be cut off by the end of the function
LATEST = timedelta(days=2)
"""Older news is not mailed any more."""


class Mails(Protocol):
    """What takes mails."""

    def send(self, mail: Mail, to: Recipient, *, tag: str) -> None:
        """`MailRefused` when no mail went out; `Unavailable` when one may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailMeans:
    """What a mail needs; `links` is what paths of the console are below. `monotonic` is another one in tests."""

    store: Store
    addresses: Addresses
    mails: Mails
    links: str
    now: Callable[[], datetime]
    monotonic: Callable[[], float] = time.monotonic


class _MailedRow(msgspec.Struct, kw_only=True):
    kind: str
    pk: str
    sk: str


class _MailedChange(msgspec.Struct, kw_only=True):
    data: _MailedRow


def handle(messages: Sequence[Message], means: MailMeans, *, objects: Objects) -> list[Result]:
    """One result a message, in their order: IGNORED where no mail is wanted, or the person has no address."""
    into = inbox("notices", store=means.store, objects=objects, now=means.now())
    until = means.monotonic() + SECONDS
    return settle(messages, into, open=_open, decide=lambda parcels: _decide(parcels, means, until))


def _open(message: Message) -> Key:
    row = read(decode(message.body).detail, _MailedChange, "not a change of a record").data
    if row.kind != "notification":
        raise Rejected("invalid_schema", "mails carry notifications alone")
    return Key(row.pk, row.sk)


def _decide(parcels: Sequence[Parcel[Key]], means: MailMeans, until: float) -> None:
    for parcel in parcels:
        if means.monotonic() >= until:
            parcel.settle(Outcome.FAILED, error="no time was left for it in this batch")
            continue
        item, reason = _wanted(parcel.content, means)
        if item is None:
            parcel.settle(Outcome.IGNORED, reason=reason)
            continue
        parcel.fields |= {"notification_id": item["notification_id"], "topic": item["topic"]}
        match mail_state(item, means.now()):
            case MailState.WANTED:
                _send(parcel, item, means)
            case MailState.SENT:
                parcel.settle(Outcome.DUPLICATE)
            case MailState.CLAIMED:
                parcel.settle(Outcome.FAILED, error="another attempt has claimed it")
            case MailState.UNCERTAIN:
                raise Rejected("mail_uncertain", "an attempt ended without SES's answer; no second mail is sent")


def _wanted(key: Key, means: MailMeans) -> tuple[Item | None, str]:
    """The notification, or why no mail of it is wanted."""
    item = alive(_stored(key, means), means.now())
    if item is None or str(Channel.EMAIL) not in item["channels"]:
        return None, "gone"
    if means.now() - parse_rfc3339(item["created_at"]) > LATEST:
        return None, "too_late"
    said = candidates(item["user_id"], item["topic"], item["workspace_id"])
    places = _places(item)
    stored = means.store.batch_get(Table.RECORDS, [*places, *said], consistent=True)
    if reason := _left(item, [stored.get(one) for one in places]):
        return None, reason
    on = channels_on(item["topic"], [stored.get(one) for one in said])
    return (item, "") if Channel.EMAIL in on else (None, "switched_off")


def _places(item: Item) -> list[Key]:
    """The workspace that it is about and its person's membership there; none when it is about no workspace."""
    workspace_id = item["workspace_id"]
    return [keys.workspace(workspace_id), keys.member(workspace_id, item["user_id"])] if workspace_id else []


def _left(item: Item, found: Sequence[Item | None]) -> str:
    """Why it is none of the person's business any more, from what is stored of `_places`. Empty when it is."""
    if not found:
        return ""
    workspace, member = found
    try:
        check_open(workspace, item["workspace_id"])
    except Refused:
        return "workspace_closed"
    return "no_member" if item["topic"] in TO_MEMBERS and membership_of(member) is None else ""


def _send(parcel: Parcel[Key], item: Item, means: MailMeans) -> None:
    person, workspace_id, once = item["user_id"], item["workspace_id"], item["notification_id"]
    to = means.addresses.of(person, workspace_id=workspace_id, topic=item["topic"], once=once, now=means.now())
    if to is None:
        parcel.settle(Outcome.IGNORED, reason="no_address")
        return
    mail = mail_of(item, links=means.links, unsubscribe=to.unsubscribe)
    act = Act(caller=service(workspace_id or "", ACTOR), now=means.now(), chance=b"")
    means.store.commit([claimed(act, item)])
    try:
        means.mails.send(mail, to, tag=once)
    except MailRefused as refused:
        _note(parcel.content, partial(released, act), means)
        parcel.settle(Outcome.FAILED, error=f"SES took nothing: {refused}")
        return
    _note(parcel.content, partial(mailed, act), means)
    parcel.settle(Outcome.ACCEPTED)


def _note(key: Key, change: Callable[[Item], Put], means: MailMeans) -> None:
    """Read again, for its person may have read it meanwhile. What cannot be stored leaves the claim as it is."""

    def attempt() -> None:
        if item := _stored(key, means):
            means.store.commit([change(item)])

    with contextlib.suppress(Unavailable):
        retrying(attempt)


def _stored(key: Key, means: MailMeans) -> Item | None:
    return means.store.batch_get(Table.RECORDS, [key], consistent=True).get(key)
