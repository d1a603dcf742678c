"""Rules of references to large values."""

from __future__ import annotations

import re
from datetime import timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.acts import NOW, act, member
from tests.support.stores.writes import Memory

from nilometer.domain.acts.roles import MATRIX, Permission, Role
from nilometer.domain.people.attachment import AttachmentPurpose, attachment_of, described
from nilometer.domain.store.times import rfc3339
from nilometer.errors import Refused, Rejected

CALLS = st.lists(
    st.tuples(st.sampled_from(AttachmentPurpose), st.binary(min_size=1, max_size=3), st.sampled_from(["ada", "bob"])),
    max_size=8,
)


@given(calls=CALLS)
def test_a_content_is_referred_to_once_a_purpose_and_by_who_was_first(
    calls: list[tuple[AttachmentPurpose, bytes, str]],
) -> None:
    """However often it is attached; and its record reads back as what was attached."""
    stored, first = Memory(), {}
    for minute, (purpose, content, user) in enumerate(calls):
        by = act(member(user, Role.ADMIN), now=NOW + timedelta(minutes=minute))
        stored.does(by, described(content, purpose=purpose, content_type="image/png"))
        first.setdefault((purpose, content), (user, rfc3339(by.now)))

    found = {(one.purpose, one.sha256): (one.added_by, one.added_at) for one in map(attachment_of, stored.values())}
    assert found == {(purpose, sha256(content).hexdigest()): by for (purpose, content), by in first.items()}


@given(
    content=st.binary(max_size=8),
    content_type=st.one_of(st.text(max_size=20), st.from_regex(r"[a-z.]{1,4}/[a-z+]{1,4}")),
)
def test_what_is_no_attachment_is_rejected(content: bytes, content_type: str) -> None:
    """Never half of one: the type has a slash, the size is counted, the hash is the content's."""
    good = bool(content) and re.fullmatch(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*", content_type, re.ASCII)
    if not good:
        with pytest.raises(Rejected):
            described(content, purpose=AttachmentPurpose.AVATAR, content_type=content_type)
        return
    made = described(content, purpose=AttachmentPurpose.AVATAR, content_type=content_type)
    assert (made.size, made.content_type) == (len(content), content_type)
    assert made.sha256 == sha256(content).hexdigest()


@pytest.mark.parametrize("role", Role)
def test_who_may_attach(role: Role) -> None:
    """As the matrix says."""
    by, wanted = act(member("ada", role)), described(b"x", purpose=AttachmentPurpose.AVATAR, content_type="image/png")
    if Permission.ATTACHMENT_ADD in MATRIX[role]:
        assert Memory().does(by, wanted)
    else:
        with pytest.raises(Refused):
            Memory().does(by, wanted)
