"""Who is named in a text, and what becomes of each kind of item that names a person."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nilometer.domain.lake.redaction import REDACTED
from nilometer.domain.recovery.erasure import MOST, Fate, Person, of_event, of_record
from nilometer.domain.store import keys
from nilometer.domain.store.compressed import pack
from nilometer.domain.store.writes import Delete, Put
from nilometer.errors import Rejected

NOW = datetime(2026, 11, 29, tzinfo=UTC)
ADA = Person.of(["Ada@Example.com", "user_ada", "cus_1234", "crm#ada"])
ITEM: dict[str, Any] = {"pk": "p", "sk": "s", "version": 3}


@pytest.mark.parametrize(
    "value",
    [
        "ada@example.com",
        "mail to ADA@EXAMPLE.COM, please",
        {"customer": "cus_1234"},
        {"pk": "USER#user_ada"},
        {"ada@example.com": 1},
        [{"deep": [{"er": {"user_ada"}}]}],
        pack(b'{"object": {"email": "ada@example.com"}}'),
        b'[{"id": "cus_1234"}]',
        b"no JSON of ada@example.com",
        '{"data": {"user_id": "user_ada"}}',
        {"body": '{"detail": "{\\"customer\\": \\"cus_1234\\"}"}'},
        b'{"id": "bob"}\n{"id": "user_ada"}\n',
        b'{"id": "user_ada", "broken": ',
        b"[" * 100_000 + b'"user_ada"',
        {"NewImage": {"payload": {"B": b64encode(pack(b'{"email": "ada@example.com"}')).decode()}}},
        {"B": "user_ada"},
        {"pk": "USER#crm%23ada"},
        {"user_id": "crm#ada"},
    ],
)
def test_a_name_is_found_wherever_it_stands(value: Any) -> None:
    """In any text at any depth, in a name of a field, in a part of a key, in compressed JSON; addresses in any case."""
    assert ADA.is_named_in(value)


@pytest.mark.parametrize(
    "value", ["user_adam", "cus_12345", "Cus_1234", {"n": 1234}, b"\x00\x01", None, "ada@example.org"]
)
def test_nobody_else_is_taken_for_the_person(value: Any) -> None:
    """An id is the whole of a text, in its own case; a longer one is somebody else's."""
    assert not ADA.is_named_in(value)


def test_an_id_is_found_in_a_key_as_keys_hold_it() -> None:
    """Its separator is escaped there; what looks escaped by itself is another's id."""
    person, other = Person.of(["user#7", "50%_ada"]), Person.of(["user%237"])

    for named in ({"user_id": "user#7"}, {"sk": keys.member("ws", "user#7").sk}, {"pk": keys.user("50%_ada")}):
        assert person.is_named_in(named)
        assert not other.is_named_in(named)
    for named in ({"user_id": "user%237"}, {"sk": keys.member("ws", "user%237").sk}):
        assert other.is_named_in(named)
        assert not person.is_named_in(named)


def test_what_a_stranger_compressed_fills_no_memory() -> None:
    """A megabyte may be a gigabyte."""
    packed = zlib.compress(b'["user_ada"' + b" " * 3 * MOST)
    tracemalloc.start()
    try:
        assert ADA.is_named_in({"B": b64encode(packed).decode()})
        assert tracemalloc.get_traced_memory()[1] < 4 * MOST
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("identifiers", [[], ["ada"], ["user_ada", " "]])
def test_a_name_too_short_to_be_a_persons_is_refused(identifiers: list[str]) -> None:
    """It would be found in what is somebody else's."""
    with pytest.raises(Rejected, match="at least 4 characters"):
        Person.of(identifiers)


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_compressed_json_names_whom_it_names_plain(value: Any) -> None:
    """The form of a payload decides nothing."""
    value = {"value": value}
    assert ADA.is_named_in(pack(json.dumps(value).encode())) == ADA.is_named_in(value)


def test_what_is_open_waits_for_its_own_end() -> None:
    """An open invitation and an active membership end by their own commands, which keep the last Admin."""
    names = {"workspace_id": "acme", "user_id": "user_ada", "invitation_id": "i1"}
    invited = of_record({**ITEM, **names, "kind": "invitation", "status": "pending"}, ADA)
    member = of_record({**ITEM, **names, "kind": "membership", "status": "active"}, ADA)

    assert (invited.fate, member.fate) == (Fate.LATER, Fate.LATER)
    assert "nilometer invite revoke acme i1" in invited.why
    assert "nilometer member remove acme user_ada" in member.why


@pytest.mark.parametrize("kind", ["invitation", "notification", "unread", "preference", "onboarding"])
def test_what_is_the_persons_own_is_removed(kind: str) -> None:
    """On the condition that it is still as it was found."""
    verdict = of_record({**ITEM, "kind": kind, "status": "accepted"}, ADA)
    [removed] = verdict.writes

    assert verdict.fate is Fate.ERASE
    assert isinstance(removed, Delete)
    assert removed.expected is not None


@pytest.mark.parametrize(
    "kind", ["billing", "register", "counter", "security", "acceptance", "workspace", "membership"]
)
def test_what_holds_ids_alone_stays(kind: str) -> None:
    """Accounts, consent and the security log stay provable."""
    assert of_record({**ITEM, "kind": kind, "status": "removed"}, ADA).fate is Fate.KEEP


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ({"name": "ada@example.com's workspace"}, "name"),
        ({"webhooks": [{"url": "https://x.test/?to=ADA@example.com", "title": "of ada@example.com"}]}, "title, url"),
    ],
)
def test_an_address_in_a_text_of_ours_waits(text: dict[str, Any], named: str) -> None:
    """Nobody may say that no text of the person is left; an id that is an address stays an id."""
    verdict = of_record({**ITEM, "kind": "workspace", "created_by": "ada@example.com", **text}, ADA)

    assert verdict.fate is Fate.LATER
    assert f"the address is in its {named}: " in verdict.why
    assert "@" not in verdict.why
    assert of_record({**ITEM, "kind": "workspace", "created_by": "ada@example.com"}, ADA).fate is Fate.KEEP


def test_a_reject_keeps_its_reason() -> None:
    """Payload and message go; a second search leaves it alone."""
    reject = {**ITEM, "kind": "reject", "reason": "unit_mismatch", "message": "of ada@example.com", "payload": "{}"}
    [changed] = of_event(reject, now=NOW).writes

    assert isinstance(changed, Put)
    assert (changed.item["payload"], changed.item["message"]) == ("", REDACTED)
    assert (changed.item["reason"], changed.item["version"]) == ("unit_mismatch", 4)
    assert of_event(changed.item, now=NOW).fate is Fate.KEEP


def test_a_reported_operation_keeps_its_identity() -> None:
    """Its data are redacted as in the lake; its hash still tells a duplicate."""
    fact = {**ITEM, "kind": "operation", "payload_hash": "h", "data": {"email": "ada@example.com", "role": "viewer"}}
    [changed] = of_event(fact, now=NOW).writes

    assert isinstance(changed, Put)
    assert changed.item["data"] == {"email": REDACTED, "role": "viewer"}
    assert changed.item["payload_hash"] == "h"
    assert of_event(changed.item, now=NOW).fate is Fate.KEEP


def test_usage_is_not_forgotten() -> None:
    """A counted fact is a number's proof; what waits is not decided yet."""
    waits = {**ITEM, "kind": "waiting_usage", "expires_at": 1_800_000_000}

    assert of_event({**ITEM, "kind": "usage_event"}, now=NOW).fate is Fate.KEEP
    assert of_event(waits, now=NOW).fate is Fate.LATER
