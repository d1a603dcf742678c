"""Erasing a person finds every place, changes nobody else, and may die anywhere."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from tests.support.faulty import FaultyStore, Killed, dies_at
from tests.support.flows.billing_play import play, records
from tests.support.flows.company import company

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.reject import Reject
from nilometer.domain.recovery.erasure import Fate, Person, with_payload
from nilometer.domain.recovery.refused import mark, of_file
from nilometer.domain.store.compressed import pack
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Table
from nilometer.flows.inbox.rejects import keep
from nilometer.flows.lake.kinds import raw_payload
from nilometer.flows.privacy.erasing import search
from nilometer.flows.privacy.found import Found, Places
from nilometer.flows.privacy.in_tables import identified
from nilometer.lake.write.erase import NamingRows

LATER = datetime.now(UTC) + timedelta(days=2)  # objects in the bucket are of this moment
ADDRESS = "ada.lovelace@example.com"
ADA = Person.of([ADDRESS])


@pytest.fixture
def places(store: Store, objects: Objects, tmp_path: Path) -> Places:
    """A company in which one customer of two has Ada's address, and rejects that name her."""
    world, _, price = company()
    for workspace, email in (("ws_ada", ADDRESS), ("ws_bob", "bob@example.com")):
        customer = world.customer(workspace)
        world.update(customer, email=email)
        world.subscribe(customer, [(price, 1)])
    play(store, world.events)
    for name in (ADDRESS, "bob@example.com"):
        payload = json.dumps({"to": name})
        keep(store, objects, [Reject(flow="usage", reason="r", message=f"of {name}", payload=payload)], now=LATER)
        keep(store, objects, [Reject(flow="usage", reason="r", message="m", payload=payload * 9_000)], now=LATER)
    return Places(store=store, objects=objects, lake_uri=str(tmp_path), storage_options={}, now=LATER)


def erase(places: Places, person: Person) -> list[Found]:
    """What a second search finds."""
    for one in search(places, person):
        if one.erase:
            one.erase()
    return list(search(places, person))


def everything(places: Places) -> str:
    """Each payload and item of both tables, and each object of the bucket."""
    items = [item for table in Table for item in places.store.scan(table)]
    payloads = [raw_payload(item, places.objects).decode() for item in items if item["kind"] == "stripe_event"]
    return "\n".join([*map(str, items), *payloads, *(str(content) for _, content in places.objects.below(""))])


def test_nothing_holds_the_address_any_more(places: Places) -> None:
    """Not an item, not a payload, not an object; of everybody else everything stays."""
    before = everything(places)
    assert ADDRESS in before

    left = erase(places, identified(places, ADA))

    after = everything(places)
    assert {one.fate for one in left} == {Fate.KEEP}
    assert ADDRESS not in after
    assert after.count("bob@example.com") == before.count("bob@example.com")


def test_what_is_billed_stays_as_it_was(places: Places) -> None:
    """Registers and billing hold ids and amounts: not one changes, and the same events again change nothing."""
    before = records(places.store)

    erase(places, identified(places, ADA))

    assert records(places.store) == before


def test_a_customer_is_found_by_the_address(places: Places) -> None:
    """Her other events, which do not name the address, belong to the same customer."""
    known = identified(places, ADA)
    [customer] = known.ids

    assert customer.startswith("cus_")
    assert len(list(search(places, known))) > len(list(search(places, ADA)))


def test_a_dry_search_changes_nothing(places: Places) -> None:
    """It reads."""
    before = everything(places)
    assert any(one.erase for one in search(places, ADA))
    assert everything(places) == before


def test_it_may_die_anywhere(places: Places, store: Store) -> None:
    """Before or after any write, whose answer is lost: the next run finds what is left, and ends the same."""
    person = identified(places, ADA)
    for call in range(1, 40):
        faulty = FaultyStore(store, dies_at(call, landed=bool(call % 2)))
        broken = Places(
            store=faulty,  # type: ignore[arg-type]  # a store that dies
            objects=places.objects,
            lake_uri=places.lake_uri,
            storage_options={},
            now=LATER,
        )
        try:
            erase(broken, person)
        except Killed:
            continue
        break

    left = erase(places, person)

    assert {one.fate for one in left} == {Fate.KEEP}
    assert ADDRESS not in everything(places)


def test_a_claim_that_may_still_be_read_waits_for_a_day(places: Places) -> None:
    """The relay reads it from the stream; then it is replaced by a redacted one."""
    fact = next(one for one in places.store.scan(Table.EVENTS, kind="stripe_event") if named(places, one))
    claim = places.objects.put("claims", raw_payload(fact, places.objects))
    young = with_payload({**fact, "received_at": rfc3339(LATER)}, {"claim": claim})
    places.store.commit([young])
    fates = {one.fate for one in search(places, ADA) if one.name.startswith(fact["pk"])}
    places.store.commit([with_payload({**young.item, "received_at": fact["received_at"]}, {"claim": claim})])

    erase(places, ADA)

    assert fates == {Fate.LATER}
    assert ADDRESS not in everything(places)


def named(places: Places, fact: dict[str, Any]) -> bool:
    return ADA.has_address_in(raw_payload(fact, places.objects).decode())


def test_an_object_that_a_message_may_ask_for_waits(places: Places, objects: Objects) -> None:
    """A day later it is deleted; a row that the lake lacks must be resent or dismissed first."""
    content = json.dumps({"email": ADDRESS}).encode()
    fresh = objects.put("claims", content)
    refused = objects.put("rejects/lake", json.dumps({"content": ADDRESS}).encode())
    now = Places(
        store=places.store, objects=objects, lake_uri=places.lake_uri, storage_options={}, now=datetime.now(UTC)
    )
    waiting = {one.name: one.why for one in search(now, ADA) if one.fate is Fate.LATER}
    left = {one.name: one.why for one in erase(places, ADA) if one.fate is Fate.LATER}

    assert "run this again after a day" in waiting[fresh]
    assert list(left) == [refused]
    assert "nilometer rejects resend" in left[refused]


def parquet(*ids: str) -> bytes:
    into = io.BytesIO()
    pq.write_table(pa.table({"id": ids, "email": [f"{one}@example.com" for one in ids]}), into, compression="zstd")
    return into.getvalue()


@pytest.mark.parametrize("name", ["user_ada", "user_ada@example.com"])
def test_rows_of_files_are_searched(places: Places, objects: Objects, name: str) -> None:
    """Each line, and each value of Parquet; a batch that the relay could not send must be relayed first."""
    lines = b'{"id": "bob"}\n{"id": "user_ada", "email": "user_ada@example.com"}\n'
    image = {"eventID": "1", "dynamodb": {"NewImage": {"payload": {"B": b64encode(pack(lines)).decode()}}}}
    batch = json.dumps({"payload": json.dumps({"Records": [image]})}).encode()
    written = {
        "landing/crm/rows.ndjson": lines,
        "landing/crm/rows.parquet": parquet("bob", "user_ada"),
        "landing/crm/cut.parquet": parquet("bob", "user_ada")[:-9] + b"user_ada@example.com",
        "aws/lambda/a/b/2026/c": batch,
    }
    for key, content in {**written, "landing/crm/bob.parquet": parquet("bob")}.items():
        objects.write(f"s3://{objects.bucket}/{key}", content)

    found = {one.name: one.fate for one in search(places, Person.of([name]))}

    assert found.keys() - {"landing/crm/cut.parquet"} == written.keys() - {"landing/crm/cut.parquet"}
    assert found["aws/lambda/a/b/2026/c"] is Fate.LATER
    assert found["landing/crm/rows.parquet"] is Fate.ERASE


@pytest.mark.parametrize(("resent", "left"), [(timedelta(hours=-1), 1), (timedelta(seconds=2), 0)])
def test_a_row_that_was_refused_again_after_it_was_resent_waits(
    places: Places, objects: Objects, resent: timedelta, left: int
) -> None:
    """It is the only copy of a row that the lake lacks, until it was resent or dismissed since."""
    refused = objects.put("rejects/lake", json.dumps({"content": ADDRESS}).encode())
    [(_, at)] = objects.listed("rejects/lake")
    one = of_file("lake", refused.rpartition("/")[2], {"reason": "invalid_row"}, at=at, payload=ADDRESS)
    places.store.commit([mark(one, "resent", actor="ops", now=at + resent)])

    found = erase(places, ADA)

    assert len([one for one in found if one.fate is Fate.LATER]) == left
    assert (ADDRESS in everything(places)) is bool(left)


@pytest.mark.parametrize("found", ["true", "false", None])
@pytest.mark.parametrize("append_only", [True, False])
def test_rows_of_a_dataset_are_deleted(tmp_path: Path, found: str | None, *, append_only: bool) -> None:
    """Each with the id as a text, or one in JSON, or the address in one; no other. Afterwards the table is closed or
    open as it is declared: an earlier eraser may have died in between, and one that merges must take the next batch."""
    uri = str(tmp_path / "people")
    rows = {
        "id": ["user_ada", "user_adam", "x", "y", "z", "q"],
        "note": [None, None, f"to {ADDRESS.upper()}!", "it's", '{"by": {"id": "user_ada"}}', '{"id": "o\'\\u00f6"}'],
        "n": [1, 2, 3, 4, 5, 6],
    }
    write_deltalake(uri, pa.table(rows), configuration={"delta.appendOnly": found} if found else None)
    named = NamingRows(
        uri=uri, storage_options={}, ids=["user_ada", "o'ö"], addresses=[ADDRESS], append_only=append_only
    )

    assert (named.count(), named.delete(), named.count()) == (4, 4, 0)
    table = DeltaTable(uri)
    assert sorted(table.to_pyarrow_table().column("n").to_pylist()) == [2, 4]
    assert (table.metadata().configuration.get("delta.appendOnly") == "true") is append_only


def test_a_table_that_is_not_there_names_nobody(tmp_path: Path) -> None:
    """A lake before its first row."""
    uri = str(tmp_path / "none")
    assert NamingRows(uri=uri, storage_options={}, ids=["user_ada"], addresses=[], append_only=True).count() == 0
