"""Payloads survive, and the dictionary that they need never changes."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from nilometer.domain.store.compressed import DICTIONARY, RECORD, pack, pack_record, unpack


@given(st.binary(max_size=3000))
def test_what_is_packed_comes_back(text: bytes) -> None:
    """Any bytes, with either dictionary."""
    assert unpack(pack(text)) == text
    assert unpack(pack_record(text)) == text


def test_a_payload_without_dictionary_is_read() -> None:
    """Plain zlib is the same format."""
    assert unpack(zlib.compress(b"{}")) == b"{}"


def test_the_dictionaries_are_frozen() -> None:
    """Stored facts and records cannot be read with another one."""
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (8871, 350889927)
    assert (len(RECORD), zlib.adler32(RECORD)) == (1702, 3370994496)
