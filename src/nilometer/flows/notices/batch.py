"""Notices: changes of records that people should be notified of, each person once.

A change comes as `record.changed.v1`, any number of times and in any order, through the operations queue. For each
person a fact, his notification and his count are one transaction; the fact's key is the cause, so that no copy and no
second change of the same cause notifies him again, also when he wanted no notice the first time.

What if the process dies after some were notified? The message comes again, and their facts are found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.acts.act import Act, service
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.notices import notification
from nilometer.domain.notices.notice import Announcement, RecordChange, announcement, record_change
from nilometer.domain.notices.notification import Notice, Notify
from nilometer.domain.people.membership import membership_of
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Absent, Key, Put, Table, Write, new_item
from nilometer.errors import Rejected
from nilometer.flows.inbox.envelope import CHANGES, RECORD_CHANGED, decode, read
from nilometer.flows.inbox.parcel import Parcel
from nilometer.flows.inbox.races import retrying
from nilometer.flows.inbox.settle import inbox, settle

NOTICES = "nilometer.notices"
KEPT = timedelta(days=40)
TOGETHER = 30  # persons in one transaction: each takes a fact, a notification and a counter


class _AuditRow(msgspec.Struct, kw_only=True):
    """The part of an audit row that decides."""

    kind: str
    pk: str
    sk: str
    workspace_id: str | None
    actor: str | None
    cause: str | None = None
    occurred_at: str
    old_image: dict[str, Any] | None
    new_image: dict[str, Any] | None
    images_ref: str | None = None


class _Changed(msgspec.Struct, kw_only=True):
    data: _AuditRow


def is_change(message: Message) -> bool:
    """Whether the bus brought a change of ours, rather than what a service says."""
    try:
        envelope = decode(message.body)
    except Rejected:
        return False
    return envelope.source == CHANGES and envelope.detail_type == RECORD_CHANGED


def handle(messages: Sequence[Message], *, store: Store, objects: Objects, now: datetime) -> list[Result]:
    """One result a message, in their order: IGNORED for a change that needs no notification."""
    into = inbox("notices", store=store, objects=objects, now=now)
    return settle(messages, into, open=lambda message: _row(message, objects), decide=partial(_decide, store, now))


def _decide(store: Store, now: datetime, parcels: Sequence[Parcel[_AuditRow]]) -> None:
    for parcel in parcels:
        parcel.settle(_apply(parcel.content, store, now, parcel.fields))


def _apply(row: _AuditRow, store: Store, now: datetime, fields: dict[str, str | int]) -> Outcome:
    fields |= {"kind": row.kind, **({"event_id": row.cause} if row.cause else {})}
    change = record_change(msgspec.structs.asdict(row))
    told = announcement(change) if change else None
    if change is None or told is None:
        return Outcome.IGNORED
    fields |= {"topic": told.topic, "workspace_id": change.workspace_id}
    caller = service(change.workspace_id, NOTICES)
    act = Act(caller=caller, now=now, at=change.at, chance=b"", cause=told.cause)
    notices = [_notify(user_id, told).notice(act) for user_id in _audience(store, change, told)]
    chunks = [notices[start : start + TOGETHER] for start in range(0, len(notices), TOGETHER)]
    if not notices:
        return Outcome.IGNORED
    fields["told"] = sum(retrying(partial(_tell, store, chunk, act)) for chunk in chunks)
    return Outcome.ACCEPTED if fields["told"] else Outcome.DUPLICATE


def _row(message: Message, objects: Objects) -> _AuditRow:
    row = read(decode(message.body).detail, _Changed, "not a change of a record").data
    if row.images_ref:
        images = msgspec.json.decode(objects.get(row.images_ref))
        row.old_image, row.new_image = images["old_image"], images["new_image"]
    return row


def _audience(store: Store, change: RecordChange, told: Announcement) -> list[str]:
    """Members of this moment, by id: who left in the meantime is not notified."""
    items = store.query(Table.RECORDS, keys.workspace(change.workspace_id).pk, prefix="MEMBER#", consistent=True)
    members = [member for member in map(membership_of, items) if member]
    return sorted(one.user_id for one in members if one.user_id == told.user_id or one.role in told.roles)


def _notify(user_id: str, told: Announcement) -> Notify:
    return Notify(user_id=user_id, topic=told.topic, title=told.title, text=told.text, link=told.link, once=told.cause)


def _tell(store: Store, notices: Sequence[Notice], act: Act) -> int:
    """How many were notified, or would have been without their preferences. `Cancelled`: another worker was faster."""
    facts = [_fact(notice, act.now) for notice in notices]
    seen = store.batch_get(Table.EVENTS, [fact.key for fact in facts], consistent=True, attributes=("kind",))
    fresh = [(notice, fact) for notice, fact in zip(notices, facts, strict=True) if fact.key not in seen]
    stored = store.batch_get(Table.RECORDS, _reads(notice for notice, _ in fresh), consistent=True)
    writes: list[Write] = []
    for notice, fact in fresh:
        writes += [fact, *notification.request(stored, notice, act=act)]
    store.commit(writes)
    return len(fresh)


def _reads(notices: Iterable[Notice]) -> list[Key]:
    return [key for notice in notices for key in notification.request_reads(notice)]


def _fact(notice: Notice, now: datetime) -> Put:
    """Its id is the cause's, without a time: two changes may report one cause at different times."""
    event_id = hashlib.sha256(f"{notice.topic}\n{notice.user_id}\n{notice.cause}".encode()).hexdigest()
    key = keys.operation(NOTICES, event_id)
    item = new_item(
        key,
        "operation",
        event_id=event_id,
        source=NOTICES,
        type=notice.topic,
        workspace_id=notice.workspace_id,
        time=rfc3339(notice.at),
        data={"user_id": notice.user_id, "cause": notice.cause},
        received_at=rfc3339(now),
        expires_at=epoch(now + KEPT),
    )
    return Put(table=Table.EVENTS, item=item, expected=Absent())
