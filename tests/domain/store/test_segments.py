"""Segments of a compressed text stand for themselves, and together are one text for any reader of zlib."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nilometer.domain.store.compressed import pack, unpack
from nilometer.domain.store.segments import MARK, joined, note_of, segment, split

TEXTS = st.lists(st.one_of(st.binary(max_size=300), st.just(b"\xff" * 70_000)), max_size=6)


@given(TEXTS, st.binary(max_size=40))
def test_the_stream_is_the_text_of_all(texts: list[bytes], note: bytes) -> None:
    """Its checksum, too, which zlib compares; and what the note says is found beside it."""
    stream = joined([segment(text) for text in texts], note)

    assert unpack(stream) == b"".join(texts)
    assert note_of(stream) == note


@given(TEXTS, st.randoms(use_true_random=False))
def test_segments_are_found_again_and_may_change_places(texts: list[bytes], chance: object) -> None:
    """None refers to the bytes of another one."""
    made = [segment(text) for text in texts]
    sizes = [(len(one.content), one.length, one.checksum) for one in made]

    found = list(split(joined(made, b""), sizes))

    assert found == made
    assert [one.text() for one in found] == texts
    assert unpack(joined(found[::-1], b"")) == b"".join(texts[::-1])


def test_other_streams_do_not_end_so() -> None:
    """They end with a checksum of four bytes."""
    assert not pack(b"{}").endswith(MARK)
    assert joined([segment(b"{}")], b"").endswith(MARK)
