"""Rules of tokens, sessions and lock-outs."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.acts import NOW, act, member
from tests.support.stores.writes import Memory

from nilometer.domain.access import lockout
from nilometer.domain.access.lockout import FAILURES, LOCKED, WINDOW, locked_until
from nilometer.domain.access.session import OpenSession, RevokeSession, session_of
from nilometer.domain.access.token import LIFETIME, IssueToken, TokenPurpose, UseToken
from nilometer.domain.acts.roles import Role
from nilometer.domain.acts.secret import checked_hash, hash_of
from nilometer.domain.people.membership import AddMember, EndSessions, membership_of
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.errors import Refused, Rejected

HASH = hash_of("secret")
LOCKOUT = keys.lockout("ws", "ada")
SECONDS = st.integers(0, 60 * 60 * 48)


def after(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


@given(
    purpose=st.sampled_from(TokenPurpose), uses=st.lists(st.tuples(SECONDS, st.sampled_from(TokenPurpose)), max_size=6)
)
def test_a_token_is_used_at_most_once(purpose: TokenPurpose, uses: list[tuple[int, TokenPurpose]]) -> None:
    """The first use in its time for its purpose, whatever else is tried."""
    stored = Memory()
    stored.does(act(), IssueToken(user_id="ada", purpose=purpose, token_hash=HASH))
    succeeded = []
    for use in uses:
        try:
            stored.does(act(now=after(use[0])), UseToken(token_hash=HASH, purpose=use[1]))
            succeeded.append(use)
        except Refused:
            pass

    valid = [use for use in uses if use[1] is purpose and after(use[0]) < NOW + LIFETIME[purpose]]
    assert succeeded == valid[:1]


def test_only_services_issue_tokens() -> None:
    """An Admin cannot reset another's password."""
    with pytest.raises(Refused):
        Memory().does(
            act(member("ada", Role.ADMIN)),
            IssueToken(user_id="bob", purpose=TokenPurpose.PASSWORD_RESET, token_hash=HASH),
        )


@given(
    lifetime=st.integers(1, 30 * 86400),
    ended=st.none() | SECONDS,
    revoked=st.none() | SECONDS,
    at=SECONDS,
)
def test_a_session_is_valid_until_the_first_of_its_ends(
    lifetime: int, ended: int | None, revoked: int | None, at: int
) -> None:
    """Its term, its revocation, the end of all sessions of the member."""
    stored = Memory()
    stored[keys.workspace("ws")] = {"pk": "WORKSPACE#ws", "sk": "WORKSPACE", "version": 1}
    key, member_key = keys.session(HASH), keys.member("ws", "ada")
    stored.does(act(now=NOW - timedelta(days=1)), AddMember(user_id="ada", role=Role.ADMIN))
    stored.does(act(), OpenSession(user_id="ada", session_hash=HASH, valid_until=NOW + timedelta(seconds=lifetime)))
    if revoked is not None and revoked <= at:
        stored.does(act(now=after(revoked)), RevokeSession(session_hash=HASH))
    if ended is not None and ended <= at:
        stored.does(act(now=after(ended)), EndSessions(user_id="ada"))

    ends = [lifetime, *(one for one in (revoked, ended) if one is not None)]
    found = session_of(stored[key], membership_of(stored[member_key]), after(at))
    assert (found is not None) == (at < min(ends))


def test_a_session_belongs_to_its_member() -> None:
    """Another's membership does not make it valid, nor one in another workspace."""
    stored = Memory()
    stored[keys.workspace("ws")] = {"pk": "WORKSPACE#ws", "sk": "WORKSPACE", "version": 1}
    for user_id in ("ada", "bob"):
        stored.does(act(), AddMember(user_id=user_id, role=Role.VIEWER))
    stored.does(act(), OpenSession(user_id="ada", session_hash=HASH))

    key = keys.session(HASH)
    assert session_of(stored[key], membership_of(stored[keys.member("ws", "bob")]), NOW) is None
    stored[key] = {**stored[key], "workspace_id": "other"}
    with pytest.raises(Refused, match="no such session"):
        stored.does(act(member("ada", Role.ADMIN)), RevokeSession(session_hash=HASH))


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(days=31), timedelta(days=-1)])
def test_a_session_has_a_term(lifetime: timedelta) -> None:
    """At most 30 days."""
    with pytest.raises(Rejected):
        Memory().does(act(), OpenSession(user_id="ada", session_hash=HASH, valid_until=NOW + lifetime))


@given(times=st.lists(st.integers(0, 3600), min_size=1, max_size=12, unique=True), seed=st.randoms())
def test_a_lockout_comes_with_the_fifth_failure_of_a_window(times: list[int], seed: object) -> None:
    """In the order of time: exactly when five lie within 15 minutes, and once until it ends."""
    stored = Memory()
    locks = []
    told = []
    for second in sorted(times):
        before = stored.get(LOCKOUT)
        writes = lockout.failed(act(now=after(second)), stored=before, user_id="ada")
        stored.commit(writes)
        locks += [second] if len(writes) == 2 else []
        told += [one] if (one := lockout.locked_out(before, stored.get(LOCKOUT))) else []

    assert locks == expected_locks(sorted(times))
    assert [one.locked_until for one in told] == [rfc3339(after(second) + LOCKED) for second in locks]
    assert len({one.id for one in told}) == len(locks)


@given(times=st.permutations(range(FAILURES)))
def test_five_failures_lock_out_in_any_order(times: list[int]) -> None:
    """The bus keeps no order."""
    stored = Memory()
    for second in times:
        late = act(now=after(100), at=after(second))
        stored.commit(lockout.failed(late, stored=stored.get(LOCKOUT), user_id="ada"))

    assert locked_until(stored[LOCKOUT], after(100)) == after(FAILURES - 1) + LOCKED


def test_a_login_forgets_what_failed_before() -> None:
    """And not what failed after, should its news come late."""
    stored = Memory()
    for second in range(FAILURES - 1):
        stored.commit(lockout.failed(act(now=after(second)), stored=stored.get(LOCKOUT), user_id="ada"))
    stored.commit(lockout.succeeded(act(now=after(60), at=after(1)), stored=stored[LOCKOUT], user_id="ada"))

    assert stored[LOCKOUT]["failures"] == ["2026-11-23T12:00:02.000Z", "2026-11-23T12:00:03.000Z"]
    assert lockout.failed(act(now=after(60), at=after(0)), stored=stored[LOCKOUT], user_id="ada") == []


def test_an_expired_lockout_counts_for_nothing() -> None:
    """DynamoDB may keep it two days longer."""
    stored = Memory()
    for second in range(FAILURES - 1):
        stored.commit(lockout.failed(act(now=after(second)), stored=stored.get(LOCKOUT), user_id="ada"))
    stored.commit(lockout.failed(act(now=NOW + timedelta(days=2)), stored=stored[LOCKOUT], user_id="ada"))

    assert len(stored[LOCKOUT]["failures"]) == 1


@pytest.mark.parametrize("text", ["", "nil_once_x", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_a_hash_is_a_hash(text: str) -> None:
    """A service that sends the token itself by mistake gets an error that says so, without the token in it."""
    with pytest.raises(Rejected) as caught:
        checked_hash(text)

    assert not text or text not in str(caught.value)


def expected_locks(times: list[int]) -> list[int]:
    """The definition, in seconds."""
    found: list[int] = []
    window: list[int] = []
    until = -1
    for time in times:
        if time < until:
            continue
        window = [one for one in [*window, time] if one > time - WINDOW.total_seconds()]
        if len(window) == FAILURES:
            found.append(time)
            until, window = time + int(LOCKED.total_seconds()), []
    return found
