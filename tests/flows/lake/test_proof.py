"""Only the relay writes history: what does not prove its origin is a reject, and what is in the lake is named."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st
from tests.support.flows.changes import World, record
from tests.support.lake.build import KEY, KEYS, NOW, START, change, event, packed, proven, unproven
from tests.support.project import EVENTS

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import AuditKeys
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.lake.proof import AUDIT_VOID, PROVEN_COLUMNS
from nilometer.domain.lake.tables import AUDIT
from nilometer.domain.recovery.verification import DifferenceKind
from nilometer.domain.store.writes import Put, Table
from nilometer.errors import Misconfigured, Rejected
from nilometer.flows.lake import append as flow
from nilometer.flows.lake.packed import pack
from nilometer.flows.lake.proof import ON_THE_WAY, AuditProofs
from nilometer.flows.recovery.audit_voids import void_change
from nilometer.flows.recovery.rebuild import rebuild
from nilometer.flows.recovery.verify import Verification
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode, packed_columns

OTHER = "another-key-of-the-tests-as-long-as-keys-must-be"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(uri=str(tmp_path / "lake"), storage_options={})


def land(lake: Lake, objects: Objects, *bodies: str, keys: AuditKeys = KEYS, **changed: Any) -> list[Result]:
    messages = [Message(str(n), body) for n, body in enumerate(bodies)]
    asked = {"now": NOW, "deadline": time.monotonic() + 30} | changed
    return flow.append(messages, lake=lake, objects=objects, keys=keys, **asked)


def outcomes(results: list[Result]) -> list[Outcome]:
    return [result.outcome for result in results]


def stored(lake: Lake) -> list[str]:
    table = DeltaTable(f"{lake.uri}/audit").to_pyarrow_table(columns=["change_id"])
    return sorted(table.column("change_id").to_pylist())


def older_table(lake: Lake, *rows: dict[str, Any]) -> None:
    """A table as it was before there were proofs."""
    first = AUDIT.at(1)
    lake.append(first, decode(first, json.dumps(rows).encode()), recorded_at=NOW, deadline=time.monotonic() + 9)


def test_a_forged_change_is_a_reject_and_its_neighbours_pass(lake: Lake, objects: Objects) -> None:
    """Without proof, with a proof by another key, or with one that was made for another row."""
    altered = proven(change("c3")) | {"new_image": {"plan": "enterprise"}}
    older = proven(change("c4")) | {"occurred_at": "2020-01-01T00:00:00Z"}
    forged = [unproven(change("c1")), unproven(proven(change("c2"), key=OTHER)), unproven(altered), unproven(older)]

    results = land(lake, objects, event(change("good")), *forged, event(change("also")))

    assert outcomes(results) == [Outcome.ACCEPTED, *[Outcome.REJECTED] * 4, Outcome.ACCEPTED]
    assert stored(lake) == ["also", "good"]


def test_the_samples_of_changes_are_proven(lake: Lake, objects: Objects) -> None:
    """By the key of the tests, so that each of them would land."""
    samples = [json.loads(path.read_text())["detail"] for path in sorted((EVENTS / "changes").glob("*.json"))]

    assert samples
    assert outcomes(land(lake, objects, *map(json.dumps, samples))) == [Outcome.ACCEPTED] * len(samples)


def test_a_change_past_the_bus_lands_as_one_that_went_over_it(world: World, lake: Lake) -> None:
    """The same row, proven, once: also when the stack is switched from one way to the other in between."""
    counter = {"pk": "WORKSPACE#ws_1", "sk": "COUNTER#m", "kind": "counter", "version": 1, "quantity": Decimal("1.5")}
    member = {"pk": "WORKSPACE#ws_1", "sk": "MEMBER#u", "kind": "membership", "version": 1, "workspace_id": "ws_1"}
    records = [record(counter, sequence="1"), record(member, sequence="2")]

    direct = world.relay(*records, tells_all=False)
    told, packed_rows = world.bodies("bus"), world.bodies("audit")
    world.relay(*records)
    later = world.bodies("bus")

    assert outcomes(direct) == [Outcome.ACCEPTED] * 2
    assert [one["detail"]["data"]["kind"] for one in told] == ["membership"]
    assert sorted(one["detail"]["data"]["kind"] for one in later) == ["counter", "membership"]
    bodies = [*map(json.dumps, packed_rows), *(json.dumps(one["detail"]) for one in (*told, *later))]
    assert len(packed_rows) == 1
    assert outcomes(land(lake, world.objects, *bodies))[0] is Outcome.ACCEPTED
    assert len(stored(lake)) == 2


@pytest.mark.parametrize("row", [change("c"), proven(change("c"), key=OTHER)], ids=["no proof", "another key"])
def test_no_other_form_of_a_message_goes_past_the_proof(lake: Lake, objects: Objects, row: dict[str, Any]) -> None:
    """Packed as columns, as rows, or in the bus's envelope."""
    bodies = [
        packed("audit", row),
        json.dumps({"table": "audit", "rows": [row]}),
        json.dumps({"detail": {"type": "record.changed.v1", "data": row}}),
    ]
    results = land(lake, objects, event(change("good")), *bodies)

    assert outcomes(results) == [Outcome.ACCEPTED, *[Outcome.REJECTED] * 3]
    assert stored(lake) == ["good"]


def test_a_proof_outlives_the_bus(world: World, lake: Lake) -> None:
    """It parses JSON, sorts names and writes numbers as it likes."""
    image = {
        "total": Decimal("12345678.123456789"),
        "share": Decimal("0.10"),
        "n": 10**20,
        "text": "ü\u2028 \x01\uffff",
    }
    item = {"pk": "WORKSPACE#w", "sk": "X", "kind": "counter", "version": 1, **image}
    world.relay(record(item))

    [envelope] = world.bodies("bus")
    data = json.loads(json.dumps(envelope["detail"]["data"], sort_keys=True, indent=3, ensure_ascii=True))

    assert outcomes(land(lake, world.objects, json.dumps({"type": "record.changed.v1", "data": data}))) == [
        Outcome.ACCEPTED
    ]
    [(pk, _, _, trusted)] = list(Ledger(lake_uri=lake.uri, storage_options={}, proof_keys=(KEY,)).origins())
    assert (pk, trusted) == ("WORKSPACE#w", True)


def test_a_key_is_rotated_without_a_gap(lake: Lake, objects: Objects) -> None:
    """Rows of the old key stay good, and a process that has not read the new one yet reads it."""
    held = [KEY]
    keys = AuditKeys(lambda: " ".join(held))
    assert outcomes(land(lake, objects, event(change("old")), keys=keys)) == [Outcome.ACCEPTED]

    held.insert(0, OTHER)
    keys._read_at -= 11  # what was read is older than ten seconds
    new = unproven(proven(change("new"), key=OTHER))

    assert outcomes(land(lake, objects, new, event(change("late")), keys=keys)) == [Outcome.ACCEPTED] * 2
    assert keys.current() == (OTHER, KEY)


@pytest.mark.parametrize("text", ["", "unset", "short", f"{KEY} short"])
def test_a_weak_key_is_refused(text: str) -> None:
    """A key that can be guessed proves nothing."""
    with pytest.raises(Misconfigured):
        AuditKeys(lambda: text).current()


def test_rows_from_before_the_upgrade_stay_good(lake: Lake, objects: Objects) -> None:
    """What an older relay had sent still lands; what happened later needs a proof; and both end."""
    older_table(lake, change("stored"))
    later = int(time.time()) + 3600
    ended = NOW.fromtimestamp(later, NOW.tzinfo) + ON_THE_WAY

    first = land(lake, objects, unproven(change("sent")), unproven(change("forged", created=later)))
    second = land(lake, objects, unproven(change("far too late")), now=ended)

    assert outcomes(first + second) == [Outcome.ACCEPTED, Outcome.REJECTED, Outcome.REJECTED]
    ledger = Ledger(lake_uri=lake.uri, storage_options={}, proof_keys=(KEY,))
    assert {row[2]: row[3] for row in ledger.origins()} == {"stored": True, "sent": True}


def test_a_table_from_before_the_upgrade_is_believed_until_it_is_written(lake: Lake) -> None:
    """`verify` of newer code reads a lake that no newer function has opened yet."""
    older_table(lake, change("stored"))

    ledger = Ledger(lake_uri=lake.uri, storage_options={}, proof_keys=(KEY,))
    assert [row[3] for row in ledger.origins()] == [True]
    assert len(list(ledger.latest_images())) == 1


def forged_into(lake: Lake, change_id: str = "forged", **changed: Any) -> None:
    """Past the flow, as before there were proofs or by who may write to the bucket."""
    row = change(change_id, sequence_number="9".zfill(40), new_image={"pk": "W#1", "sk": "R", "plan": "all"}, **changed)
    lake.append(AUDIT, decode(AUDIT, json.dumps([row]).encode()), recorded_at=NOW, deadline=time.monotonic() + 9)


def true_change(lake: Lake, objects: Objects) -> None:
    image = {"pk": "W#1", "sk": "R", "kind": "workspace", "plan": "team"}
    assert outcomes(land(lake, objects, event(change("true", pk="W#1", sk="R", new_image=image)))) == [Outcome.ACCEPTED]


def test_verify_names_what_is_there_without_proof(lake: Lake, store: Store, objects: Objects) -> None:
    """And no other check believes it."""
    true_change(lake, objects)
    forged_into(lake, pk="W#1", sk="R")
    store.commit([Put(table=Table.RECORDS, item={"pk": "W#1", "sk": "R", "kind": "workspace", "plan": "team"})])

    ledger = Ledger(lake_uri=lake.uri, storage_options={}, proof_keys=(KEY,))
    origin, records = Verification(store=store, ledger=ledger, objects=objects, now=NOW).run(["origin", "records"])

    assert [(one.kind, one.key) for one in origin.differences] == [(DifferenceKind.UNPROVEN, ("W#1", "R", "forged"))]
    assert records.ok


def test_rebuild_does_not_write_it_back(lake: Lake, store: Store, objects: Objects) -> None:
    """The last proven image is what the record was."""
    true_change(lake, objects)
    forged_into(lake, pk="W#1", sk="R")
    forged_into(lake, change_id="new", pk="W#2", sk="R")

    ledger = Ledger(lake_uri=lake.uri, storage_options={}, proof_keys=(KEY,))
    rebuild(store, ledger=ledger, objects=objects, as_of=NOW - timedelta(hours=1), now=NOW)

    assert [(item["pk"], item["plan"]) for item in store.scan(Table.RECORDS)] == [("W#1", "team")]


def test_a_forged_row_is_voided_by_a_further_row(lake: Lake, store: Store, objects: Objects, world: World) -> None:
    """One from before there were proofs, which nothing else can tell from a true one."""
    older_table(lake, change("forged", pk="W#1", sk="R", new_image={"pk": "W#1", "sk": "R", "plan": "all"}))
    ledger = Ledger(lake_uri=lake.uri, storage_options={}, proof_keys=(KEY,))
    assert [row[0] for row in ledger.latest_images()] == ["W#1"]

    assert void_change(store, "forged", actor="operator", now=NOW)
    assert not void_change(store, "forged", actor="operator", now=NOW)
    [item] = store.scan(Table.RECORDS)
    world.relay(record(dict(item)))
    [envelope] = world.bodies("bus")
    assert outcomes(land(lake, objects, json.dumps(envelope["detail"]))) == [Outcome.ACCEPTED]

    assert [(row[0], json.loads(row[2])["kind"]) for row in ledger.latest_images()] == [("AUDIT#forged", AUDIT_VOID)]


def test_a_void_without_proof_voids_nothing(lake: Lake, objects: Objects) -> None:
    """Who could forge one could take true rows out of history."""
    true_change(lake, objects)
    void = change("void", kind=AUDIT_VOID, pk="AUDIT#true", sk="VOID", created=START)
    lake.append(AUDIT, decode(AUDIT, json.dumps([void]).encode()), recorded_at=NOW, deadline=time.monotonic() + 9)

    ledger = Ledger(lake_uri=lake.uri, storage_options={}, proof_keys=(KEY,))
    assert [row[0] for row in ledger.latest_images()] == ["W#1"]


def test_only_the_forged_of_packed_changes_are_rejects(lake: Lake, objects: Objects) -> None:
    """Each as in a message of its own, in whatever company."""
    good = [proven(change(f"good{n}")) for n in range(3)]
    altered = proven(change("c1")) | {"new_image": {"plan": "enterprise"}}
    forged = [change("c2"), proven(change("c3"), key=OTHER), altered]

    mixed = land(lake, objects, packed("audit", *good[:2], *forged, good[2]))
    again = land(lake, objects, packed("audit", *good))

    assert outcomes([*mixed, *again]) == [Outcome.REJECTED, Outcome.DUPLICATE]
    assert stored(lake) == ["good0", "good1", "good2"]
    kept = objects._client.list_objects_v2(Bucket=objects.bucket, Prefix="rejects/lake/")
    assert kept["KeyCount"] == len(forged)


_TAMPERED = st.one_of(
    st.tuples(st.sampled_from(PROVEN_COLUMNS), st.sampled_from(["other", "", None, 7, {"plan": "enterprise"}])),
    st.tuples(st.just("occurred_at"), st.sampled_from(["2026-11-23T00:00:01Z", "no time", ""])),
    st.tuples(st.just("proof"), st.sampled_from([None, "", "1.", proven(change("c1"))["proof"], "é" * 43])),
)


@given(_TAMPERED, st.sampled_from([0, 1, 2]), st.booleans())
def test_what_packed_rows_hold_each_row_proves(tampered: tuple[str, Any], place: int, spaced: bool) -> None:
    """The quick check says yes only where the one of a single row does, and always does where nothing was altered."""
    column, value = tampered
    rows = [proven(change(f"c{n}")) for n in range(3)]
    honest = rows[place][column] == value
    rows[place][column] = value
    proofs = AuditProofs(keys=KEYS, since=lambda: None, now=NOW)
    contents = [json.dumps(row, separators=None if spaced else (",", ":"), sort_keys=True).encode() for row in rows]
    try:
        held = [proofs.hold(packed_columns(body)) for body in pack("audit", contents)]
    except Rejected:
        return  # no rows at all

    assert not all(held) or all(_passes(proofs, content) for content in contents)
    assert all(held) or not honest or spaced


def _passes(proofs: AuditProofs, content: bytes) -> bool:
    try:
        proofs.check(content)
    except Rejected:
        return False
    return True
