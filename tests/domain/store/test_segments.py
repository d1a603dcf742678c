"""Segments of a compressed text stand for themselves, and together are one text for any reader of zlib."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nilometer.domain.store.compressed import unpack
from nilometer.domain.store.segments import joined, segment

TEXTS = st.lists(st.one_of(st.binary(max_size=300), st.just(b"\xff" * 70_000)), max_size=6)


@given(TEXTS)
def test_the_stream_is_the_text_of_all(texts: list[bytes]) -> None:
    """Its checksum, too, which zlib compares; and none refers to the bytes of another one."""
    made = [segment(text) for text in texts]

    assert unpack(joined(made)) == b"".join(texts)
    assert unpack(joined(made[::-1])) == b"".join(texts[::-1])
