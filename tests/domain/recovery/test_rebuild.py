"""What is not counted as incomplete is what the record held."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nilometer.domain.lake.redaction import image
from nilometer.domain.recovery.rebuild import incomplete
from nilometer.domain.store.compressed import pack_record

NAMES = [
    "plan",
    "email",
    "inputs",
    "views",
    "evidence",
    "pk",
    "gsi1pk",
    "metadata",
    "token_hash",
    "object",
    "workspace_id",
    "n",
]
TEXTS = ["", "team", "zoe@example.com", "TOKEN#ab", "INVITATION#~ab", "[redacted]", "two words", "10.0.0.1", "invoice"]
SCALARS = st.one_of(
    st.sampled_from(TEXTS), st.text(max_size=8), st.integers(), st.decimals(0, 9, places=2), st.booleans(), st.none()
)
VALUES = st.recursive(
    SCALARS | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6))
def test_what_is_not_incomplete_is_as_it_was(record: dict[str, Any]) -> None:
    """Attribute by attribute, whatever the record."""
    kept = image(record)
    lost = incomplete(kept)

    assert {name: value for name, value in kept.items() if name not in lost} == {
        name: value for name, value in record.items() if name not in lost
    }


@pytest.mark.parametrize(
    "record", [{"plan": "team", "limit": Decimal("1.5")}, {"email": None}, {"customers": ["cus_1"], "on": True}]
)
def test_plain_records_are_whole(record: dict[str, Any]) -> None:
    assert incomplete(image(record)) == ()


@pytest.mark.parametrize("name", ["inputs", "views"])
def test_what_was_compressed_is_readable_and_incomplete(name: str) -> None:
    """Of a billing record and of its parts: JSON in the image, bytes in the table."""
    kept = image({"version": 1, name: pack_record(b'{"sub_1":{"status":"active"}}')})

    assert kept[name] == {"sub_1": {"status": "active"}}
    assert incomplete(kept) == (name,)
