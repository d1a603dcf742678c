"""Contents that no attachment names are deleted, and none that is attached at the same moment is lost."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.faulty import FaultyStore
from tests.support.flows.operations import NOW, envelope, handle
from tests.support.people import member, workspace

from nilometer import Attach, RemoveAttachment, perform
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.people.attachment import MARKED, Attachment, AttachmentPurpose, described
from nilometer.domain.people.sweep import TAKEN_OVER
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused, Rejected, Unavailable
from nilometer.flows.people import attachments, sweeping

CONTENT = b"\x89PNG"
PURPOSE = AttachmentPurpose.AVATAR
PNG = described(CONTENT, purpose=PURPOSE, content_type="image/png")
REMOVE = RemoveAttachment(purpose=PURPOSE, sha256=PNG.sha256)
TOMORROW = datetime.now(UTC) + timedelta(days=2)  # for a sweep: every object of these tests is old enough
STEPS = 12  # more than attaching or sweeping one object has


class Steps:
    """Objects or a store that call `then` before one of their calls."""

    def __init__(self, step: int, then: Callable[[], object]) -> None:
        self.left, self._then = step, then

    def fault(self, _name: str, _number: int, landed: bool) -> None:
        if landed:
            return
        self.left -= 1
        if self.left == 0:
            self._then()

    def of(self, objects: Objects) -> Any:
        return FaultyObjects(objects, self)


class FaultyObjects:
    def __init__(self, objects: Objects, steps: Steps) -> None:
        self._objects, self._steps = objects, steps

    def __getattr__(self, name: str) -> Any:
        if name in {"put", "delete", "get", "size"}:
            self._steps.fault(name, 0, False)
        return getattr(self._objects, name)


def attach(store: Any, caller: Caller, objects: Any, purpose: AttachmentPurpose = PURPOSE) -> Attachment:
    given: dict[str, Any] = {"purpose": purpose, "content_type": "image/png", "now": NOW}
    return attachments.attach(store, caller, CONTENT, objects=objects, **given)


def swept(store: Any, objects: Any, *, now: datetime = TOMORROW) -> list[str]:
    return list(sweeping.sweep(store, objects, now=now))


def content(store: Store, caller: Caller, objects: Objects, purpose: AttachmentPurpose = PURPOSE) -> bytes:
    return attachments.fetch(store, caller, PNG.sha256, objects=objects, purpose=purpose)


def test_what_was_removed_is_shown_no_more_and_its_content_goes(store: Store, objects: Objects) -> None:
    """Once; the mark of the record ends by itself, and the same content may be attached again."""
    ada = workspace(store)
    attach(store, ada, objects)

    assert swept(store, objects) == []
    assert [perform(store, ada, REMOVE, now=NOW) for _ in range(2)] == [True, False]
    assert attachments.attached(store, ada, purpose=PURPOSE) == []
    with pytest.raises(Refused):
        content(store, ada, objects)
    mark = store.get(Table.RECORDS, keys.attachment("ws", PURPOSE, PNG.sha256)) or {}
    assert mark["expires_at"] == epoch(NOW + MARKED)
    assert [swept(store, objects) for _ in range(2)] == [[f"attachments/ws/{PNG.sha256}"], []]
    attach(store, ada, objects)
    assert (content(store, ada, objects), swept(store, objects)) == (CONTENT, [])


def test_a_content_that_another_purpose_names_stays(store: Store, objects: Objects) -> None:
    """The object is shared by the purposes of one hash."""
    ada = workspace(store)
    for purpose in (PURPOSE, AttachmentPurpose.ATTACHMENT):
        attach(store, ada, objects, purpose)
    perform(store, ada, REMOVE, now=NOW)

    assert swept(store, objects) == []
    assert content(store, ada, objects, AttachmentPurpose.ATTACHMENT) == CONTENT


def test_what_was_never_named_is_swept_when_it_is_a_day_old(store: Store, objects: Objects) -> None:
    """A call that died between the object and its record left it; a young one may be about to be named."""
    workspace(store)
    key = objects.put("attachments/ws", CONTENT)

    assert swept(store, objects, now=datetime.now(UTC)) == []
    assert list(sweeping.sweep(store, objects, now=TOMORROW, dry_run=True)) == [key]
    assert swept(store, objects) == [key]


@pytest.mark.parametrize("step", range(1, STEPS))
@pytest.mark.parametrize("removed", [True, False], ids=["removed", "orphan"])
def test_a_sweep_at_any_step_of_attaching_loses_nothing(
    store: Store, objects: Objects, step: int, removed: bool
) -> None:
    """Who attached has the content; who was told to try again has it after that."""
    ada = workspace(store)
    if removed:
        attach(store, ada, objects)
        perform(store, ada, REMOVE, now=NOW)
    else:
        objects.put("attachments/ws", CONTENT)
    steps = Steps(step, partial(swept, store, objects))
    try:
        attach(FaultyStore(store, steps.fault), ada, steps.of(objects))
    except Unavailable:
        attach(store, ada, objects)

    assert content(store, ada, objects) == CONTENT


@pytest.mark.parametrize("step", range(1, STEPS))
def test_an_attaching_at_any_step_of_a_sweep_loses_nothing(store: Store, objects: Objects, step: int) -> None:
    """For the same purpose or another."""
    ada = workspace(store)
    attach(store, ada, objects)
    perform(store, ada, REMOVE, now=NOW)
    purposes, done = (PURPOSE, AttachmentPurpose.ATTACHMENT), []

    def meanwhile() -> None:
        for purpose in purposes:
            try:
                done.append(attach(store, ada, objects, purpose).purpose)
            except Unavailable:
                continue

    steps = Steps(step, meanwhile)
    swept(FaultyStore(store, steps.fault), steps.of(objects))

    for purpose in purposes:
        if purpose not in done:
            attach(store, ada, objects, purpose)
        assert content(store, ada, objects, purpose) == CONTENT


def test_a_sweep_that_died_is_taken_over_after_an_hour(store: Store, objects: Objects) -> None:
    """Meanwhile attaching the same content is refused as "try again", so that it is not lost."""
    ada = workspace(store)
    objects.put("attachments/ws", CONTENT)

    def dies() -> None:
        raise KeyboardInterrupt

    class Dying(Steps):
        def fault(self, name: str, number: int, landed: bool) -> None:
            if name == "delete":
                dies()

    with pytest.raises(KeyboardInterrupt):
        swept(store, Dying(1, dies).of(objects))
    with pytest.raises(Unavailable, match="being deleted"):
        attach(store, ada, objects)
    assert swept(store, objects) == []
    assert len(swept(store, objects, now=TOMORROW + TAKEN_OVER)) == 1
    assert (attach(store, ada, objects).sha256, content(store, ada, objects)) == (PNG.sha256, CONTENT)


def test_who_may_remove(store: Store, objects: Objects) -> None:
    """Who added it, Admins and Managers; anybody else is refused and nothing changes."""
    ada = workspace(store, bob=Role.VIEWER, vic=Role.VIEWER)
    bob, vic = member("bob", Role.VIEWER), member("vic", Role.VIEWER)
    attach(store, bob, objects)

    with pytest.raises(Refused):
        perform(store, vic, REMOVE, now=NOW)
    assert perform(store, bob, REMOVE, now=NOW)
    attach(store, bob, objects)
    assert perform(store, ada, REMOVE, now=NOW)


def test_an_event_removes_once_and_not_what_was_added_after_it(store: Store, objects: Objects) -> None:
    """One that comes before what it removes waits."""
    ada = workspace(store)
    cloud = {"specversion": "1.0", "source": "/a", "type": "attachment.removed.v1", "subject": "ws"}
    data = {"purpose": "avatar", "sha256": PNG.sha256, "actor": "ada"}
    late = envelope({**cloud, "id": "late", "time": "2026-11-23T04:00:00Z", "data": data})
    after = envelope({**cloud, "id": "after", "time": "2026-11-23T12:00:01Z", "data": data})

    assert handle(store, objects, late) == [Outcome.WAITING]
    attach(store, ada, objects)
    assert handle(store, objects, late) == [Outcome.ACCEPTED]
    assert len(attachments.attached(store, ada, purpose=PURPOSE)) == 1
    assert handle(store, objects, after, after) == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert attachments.attached(store, ada, purpose=PURPOSE) == []


def put(upload: attachments.Upload, body: bytes) -> int:
    """As a browser does."""
    request = urllib.request.Request(  # noqa: S310
        upload.url, data=body, method="PUT", headers=dict(upload.headers)
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_content_is_put_and_had_by_signed_addresses(store: Store, objects: Objects) -> None:
    """Size, type and hash are signed; what was not uploaded is not kept; the download comes as a file of its type."""
    ada = workspace(store)
    given: dict[str, Any] = {"objects": objects, "now": NOW}
    made = attachments.upload(store, ada, PNG, objects=objects)
    [signed] = parse_qs(urlsplit(made.url).query)["X-Amz-SignedHeaders"]
    assert {"content-length", "content-type", "x-amz-checksum-sha256"} <= {*signed.split(";")}

    with pytest.raises(Refused, match="upload it"):
        attachments.attach_uploaded(store, ada, PNG, **given)
    assert put(made, CONTENT) == 200
    assert attachments.attach_uploaded(store, ada, PNG, **given).sha256 == PNG.sha256
    where = attachments.download_url(store, ada, PNG.sha256, objects=objects, purpose=PURPOSE)
    with urllib.request.urlopen(where, timeout=60) as answer:  # noqa: S310
        assert answer.read() == CONTENT
    assert "response-content-type=image%2Fpng" in where
    assert "response-content-disposition=attachment" in where


def test_what_was_uploaded_in_its_place_is_not_kept(store: Store, objects: Objects) -> None:
    """Whoever got something else below that name."""
    ada = workspace(store)
    given: dict[str, Any] = {"Bucket": objects.bucket, "Key": f"attachments/ws/{PNG.sha256}"}
    objects._client.put_object(**given, Body=b"EVIL")

    with pytest.raises(Rejected) as told:
        attachments.attach_uploaded(store, ada, PNG, objects=objects, now=NOW)
    assert told.value.reason == "claim_broken"
    for wrong in ({"size": 10_000_001}, {"size": 0}, {"content_type": "x"}, {"sha256": "../x"}):
        with pytest.raises(Rejected):
            attachments.upload(store, ada, Attach(**{**vars(PNG), **wrong}), objects=objects)
