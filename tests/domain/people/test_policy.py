"""Policies: what is outstanding, evidence that does not change, addresses of which only a keyed hash is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.acts import act
from tests.support.stores.writes import Memory

from nilometer import AcceptPolicy, PublishPolicy
from nilometer.domain.people import policy
from nilometer.domain.people.policy import Policy
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Absent, Put
from nilometer.errors import Rejected, Unavailable

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = b"k" * 32
SHA = "ab" * 32


def version(number: int, *, days: int = -1, material: bool = True, sha: str = SHA) -> PublishPolicy:
    return PublishPolicy(
        policy=Policy.TERMS,
        version=number,
        url="https://example.com/terms",
        content_sha256=sha,
        effective_at=NOW + timedelta(days=days),
        material=material,
    )


def stored(number: int, **given: Any) -> Any:
    found = Memory()
    [put] = found.does(act(), version(number, **given))
    return found[put.key]


def accepted(number: int) -> Any:
    return {"policy": "terms", "policy_version": number}


def outstanding(versions: list[Any], *numbers: int) -> list[int]:
    found = policy.outstanding({Policy.TERMS: versions}, map(accepted, numbers), NOW)
    return [item["policy_version"] for item in found]


def test_the_version_in_force_is_outstanding_until_it_is_accepted() -> None:
    """One that takes effect later is not in force, but accepting it early suffices."""
    versions = [stored(1), stored(2), stored(3, days=7)]

    assert outstanding(versions) == [2]
    assert outstanding(versions, 1) == [2]
    assert outstanding(versions, 2) == []
    assert outstanding(versions, 3) == []


def test_an_editorial_version_needs_no_new_acceptance() -> None:
    """Who accepted the last material one is done; a newcomer accepts what is in force."""
    versions = [stored(1), stored(2, material=False)]

    assert outstanding(versions, 1) == []
    assert outstanding(versions) == [2]
    assert outstanding([*versions, stored(3)], 2) == [3]


def test_something_is_to_be_accepted_even_if_all_is_editorial() -> None:
    """No person without any acceptance is done."""
    assert outstanding([stored(1, material=False)]) == [1]
    assert outstanding([]) == []


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=6), st.sets(st.integers(1, 6)))
def test_accepting_what_is_outstanding_leaves_nothing_outstanding(
    published: list[tuple[int, bool]], numbers: set[int]
) -> None:
    """Whatever was published and accepted before."""
    versions = [stored(n, days=days, material=material) for n, (days, material) in enumerate(published, 1)]
    missing = outstanding(versions, *numbers)

    assert outstanding(versions, *numbers, *missing) == []


def test_a_published_version_never_changes() -> None:
    """The same again says nothing; another text needs the next number."""
    found = Memory()
    found.does(act(), version(1))

    assert found.does(act(), version(1)) == []
    with pytest.raises(Rejected, match="content_sha256"):
        found.does(act(), version(1, sha="cd" * 32))


def test_an_acceptance_is_written_once() -> None:
    """The first stays as it is, whatever comes later; without its version it waits."""
    accepts, found = AcceptPolicy(user_id="u", policy=Policy.TERMS, version=1), Memory()
    with pytest.raises(Unavailable):
        found.does(act(stamp="1"), accepts)
    found.does(act(), version(1))
    written, _ = found.does(act(stamp="2"), accepts)

    assert isinstance(written, Put)
    assert written.expected == Absent()
    assert "expires_at" not in written.item
    assert found.does(act(stamp="3"), accepts) == []


@given(st.ip_addresses(v=4), st.ip_addresses(v=6))
def test_an_address_has_one_hash_however_it_is_written(four: Any, six: Any) -> None:
    """And another one under another key, so that nobody without it can try all addresses."""
    assert policy.ip_hash(f"::ffff:{four}", key=KEY) == policy.ip_hash(str(four), key=KEY)
    assert policy.ip_hash(six.exploded, key=KEY) == policy.ip_hash(f" {six.compressed.upper()} ", key=KEY)
    assert policy.ip_hash(str(six), key=KEY) != policy.ip_hash(str(six), key=b"x" * 32)


def test_an_address_needs_a_key() -> None:
    """A hash without one is found by trying."""
    with pytest.raises(ValueError, match="16 bytes"):
        policy.ip_hash("192.0.2.1", key=b"")


def test_what_is_no_address_is_not_repeated_in_the_error() -> None:
    """It may be personal all the same."""
    with pytest.raises(Rejected) as caught:
        policy.ip_hash("alice.example", key=KEY)

    assert "alice" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy": "returns"},
        {"version": 0},
        {"version": 1_000_000},
        {"user_id": "somebody@example.com"},
        {"ip_hash": "192.0.2.1"},
    ],
)
def test_what_cannot_be_an_acceptance_is_rejected(wrong: dict[str, Any]) -> None:
    """An address in place of its hash too."""
    with pytest.raises(Rejected):
        Memory().does(act(stamp="1"), AcceptPolicy(**{"user_id": "u", "policy": Policy.TERMS, "version": 1, **wrong}))


def test_a_long_user_agent_is_cut() -> None:
    """It is anybody's text, so what would act on a terminal is only shown."""
    found = Memory()
    found.does(act(), version(1))
    agent = "\x1b[2J" + "x" * 2_000
    found.does(act(stamp="1"), AcceptPolicy(user_id="u", policy=Policy.TERMS, version=1, user_agent=agent))

    assert found[keys.acceptance("u", "terms", 1)]["user_agent"] == "\ufffd[2J" + "x" * 508
