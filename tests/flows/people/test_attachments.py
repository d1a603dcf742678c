"""Large values on real engines: the object in S3, a reference in the table, and no way into another's folder."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.flows.operations import NOW
from tests.support.people import RACERS, member, race, won, workspace

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.cloudevents import NAME_LENGTH
from nilometer.domain.people import attachment
from nilometer.domain.people.attachment import CONTENT_BYTES, Attachment, AttachmentPurpose, folder
from nilometer.domain.store.keys import part
from nilometer.domain.store.writes import Item, Table
from nilometer.errors import Refused, Rejected, Unavailable
from nilometer.flows.people import attachments

NAMES = st.text(min_size=1).filter(lambda name: len(part(name).encode()) <= NAME_LENGTH)
PICTURE = b"\x89PNG " * 100_000  # more than an item may have


def attach(store: Store, objects: Objects, caller: Caller, content: bytes = PICTURE, **other: Any) -> Attachment:
    wanted: dict[str, Any] = {"purpose": AttachmentPurpose.AVATAR, "content_type": "image/png", "now": NOW}
    return attachments.attach(store, caller, content, objects=objects, **(wanted | other))


def references(store: Store) -> list[Item]:
    return list(store.scan(Table.RECORDS, kind="attachment"))


def keys_in(objects: Objects) -> list[str]:
    listed = objects._client.list_objects_v2(Bucket=objects.bucket)
    return [one["Key"] for one in listed.get("Contents", [])]


def test_the_content_is_in_s3_and_the_item_refers_to_it(store: Store, objects: Objects) -> None:
    """With type, size, hash, who and when."""
    ada = workspace(store)
    made = attach(store, objects, ada)

    assert attachments.fetch(store, ada, made.sha256, objects=objects, purpose=AttachmentPurpose.AVATAR) == PICTURE
    assert attachments.attached(store, ada, purpose=AttachmentPurpose.AVATAR) == [made]
    assert (made.size, made.sha256) == (len(PICTURE), hashlib.sha256(PICTURE).hexdigest())
    assert (made.added_by, made.added_at) == ("ada", "2026-11-23T12:00:00.000Z")
    [item] = references(store)
    assert len(repr(item)) < 1_000
    assert keys_in(objects) == [f"attachments/ws/{made.sha256}"]


def test_the_same_again_changes_nothing(store: Store, objects: Objects) -> None:
    """Nor do eight at once; the first one's name stays."""
    ada = workspace(store, bob=Role.VIEWER)
    first = attach(store, objects, ada)
    tasks = [partial(attach, store, objects, member("bob", Role.VIEWER), now=NOW + timedelta(1))] * RACERS

    assert won(race(tasks)) == [first] * RACERS
    assert [item["version"] for item in references(store)] == [1]


def test_a_call_that_died_in_the_middle_is_repeated(store: Store, objects: Objects) -> None:
    """The object is there, its reference not: nothing is shown until the call comes again."""
    ada = workspace(store)
    sha256 = objects.put(folder("ws"), PICTURE).rpartition("/")[2]

    assert attachments.attached(store, ada, purpose=AttachmentPurpose.AVATAR) == []
    with pytest.raises(Refused, match="has no avatar"):
        attachments.fetch(store, ada, sha256, objects=objects, purpose=AttachmentPurpose.AVATAR)
    assert attach(store, objects, ada).sha256 == sha256


def test_no_reference_without_its_object(store: Store, objects: Objects) -> None:
    """When S3 does not take it, nothing is written."""
    ada = workspace(store)

    with pytest.raises(Unavailable):
        attach(store, Objects(objects._client, bucket="no-such-bucket-here"), ada)
    assert references(store) == []


@pytest.mark.parametrize(
    ("content", "content_type", "reason"),
    [
        (b"x" * (CONTENT_BYTES + 1), "image/png", "too_large"),
        (b"", "image/png", "invalid_schema"),
        (b"x", "picture", "invalid_schema"),
        (b"x", "image/png\r\nx: y", "invalid_schema"),
    ],
    ids=["large", "empty", "no type", "header"],
)
def test_what_cannot_be_kept(store: Store, objects: Objects, content: bytes, content_type: str, reason: str) -> None:
    """Is told so before anything is stored."""
    ada = workspace(store)
    with pytest.raises(Rejected) as told:
        attach(store, objects, ada, content, content_type=content_type)

    assert told.value.reason == reason
    assert (keys_in(objects), references(store)) == ([], [])


def test_a_stranger_does_not_fill_the_bucket(store: Store, objects: Objects) -> None:
    """He is refused before the object is written."""
    workspace(store)
    with pytest.raises(Refused):
        attach(store, objects, member("eve", Role.ADMIN))

    assert keys_in(objects) == []


def test_an_export_is_read_by_who_may_query(store: Store, objects: Objects) -> None:
    """A Viewer may not; its hash does not open it as something else."""
    ada = workspace(store, bob=Role.VIEWER, ann=Role.ANALYST)
    made = attach(store, objects, ada, b"id,total\n", purpose=AttachmentPurpose.EXPORT, content_type="text/csv")
    fetch = partial(attachments.fetch, store, objects=objects)

    assert fetch(member("ann", Role.ANALYST), made.sha256, purpose=AttachmentPurpose.EXPORT) == b"id,total\n"
    for purpose in AttachmentPurpose:
        with pytest.raises(Refused):
            fetch(member("bob", Role.VIEWER), made.sha256, purpose=purpose)


def test_the_same_content_of_two_workspaces_is_two_objects(store: Store, objects: Objects) -> None:
    """To know a hash is not to have the content."""
    ada, eve = workspace(store, "ours"), workspace(store, "theirs")
    made = attach(store, objects, ada)
    with pytest.raises(Refused):
        attachments.fetch(store, eve, made.sha256, objects=objects, purpose=AttachmentPurpose.AVATAR)

    attach(store, objects, eve)
    assert sorted(keys_in(objects)) == [f"attachments/{one}/{made.sha256}" for one in ("ours", "theirs")]


@given(ours=NAMES, theirs=NAMES)
@example(ours="ours", theirs="../ours")
@example(ours="a/b", theirs="a%2Fb")
@example(ours="..", theirs=".")
def test_a_workspace_has_one_folder_and_shares_it_with_nobody(ours: str, theirs: str) -> None:
    """Nothing in its id leads out of it, and S3 takes the whole key."""
    key = f"{folder(theirs)}/{'0' * 64}"

    assert (folder(ours) == folder(theirs)) == (ours == theirs)
    assert key.count("/") == 2
    assert "." not in key
    assert len(key.encode()) <= 1_024


def test_every_purpose_says_who_reads_it() -> None:
    """A new one must be added."""
    assert attachment.READS.keys() == set(AttachmentPurpose)
