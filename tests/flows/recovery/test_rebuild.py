"""The audit brings back what the records were, says what it cannot bring back, and replaces nothing."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.lake.build import NOW, change

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake import exact, redaction
from nilometer.domain.lake.tables import AUDIT
from nilometer.domain.store.compressed import pack
from nilometer.domain.store.writes import Key, Put, Table
from nilometer.errors import Refused, Unavailable
from nilometer.flows.recovery import rebuild as rebuild_module
from nilometer.flows.recovery.rebuild import Rebuilt, rebuild
from nilometer.flows.recovery.verify import Verification
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode

EARLY, THEN, LATE = 1_795_400_000, 1_795_410_000, 1_795_420_000
AS_OF = datetime.fromtimestamp(THEN, UTC)


class Past:
    """A lake to which changes are appended, and an empty table."""

    def __init__(self, store: Store, objects: Objects, folder: Path) -> None:
        self.target = store
        self.objects = objects
        self.ledger = Ledger(lake_uri=str(folder), storage_options={})
        self._rows: list[dict[str, Any]] = []

    def told(self, pk: str, *, at: int = EARLY, action: str = "INSERT", ref: str | None = None, **image: Any) -> None:
        number = str(len(self._rows)).zfill(40)
        new = exact.written(redaction.image({"pk": pk, "sk": "R", "kind": "workspace", "version": 1} | image))
        row = change(number, created=at, action=action, pk=new["pk"], sk="R", sequence_number=number, images_ref=ref)
        self._rows.append(row | {"new_image": None if action in {"REMOVE", "EXPIRED"} or ref else new})

    def run(self, target: Store | None = None, **asked: Any) -> Rebuilt:
        Lake(uri=self.ledger.lake_uri, storage_options={}).append(
            AUDIT,
            decode(AUDIT, json.dumps(self._rows, default=float).encode()),
            recorded_at=NOW,
            deadline=time.monotonic() + 9,
        )
        asked = {"as_of": AS_OF, "now": NOW} | asked
        return rebuild(target or self.target, ledger=self.ledger, objects=self.objects, **asked)

    def stored(self) -> dict[str, Any]:
        return {item["pk"]: item for item in self.target.scan(Table.RECORDS)}


@pytest.fixture
def past(store: Store, objects: Objects, tmp_path: Path) -> Past:
    return Past(store, objects, tmp_path / "lake")


class Dying(Store):
    """The same table; its process dies on the second transaction."""

    def __init__(self, store: Store) -> None:
        self.__dict__.update(store.__dict__)
        self.commits = 0

    def commit(self, writes: Any) -> None:
        self.commits += 1
        if self.commits == 2:
            raise Unavailable("gone")
        super().commit(writes)


def test_the_records_are_what_they_were(past: Past) -> None:
    """Changes up to the second count, later ones do not, and what had been removed stays away."""
    past.told("kept", limit=1.25, nested={"n": [1, None, True]})
    past.told("changed", version=1)
    past.told("changed", at=THEN, action="MODIFY", version=2)
    past.told("changed", at=THEN + 1, action="MODIFY", version=3)
    past.told("removed")
    past.told("removed", at=THEN, action="REMOVE")
    past.told("expired")
    past.told("expired", at=THEN, action="EXPIRED")
    past.told("removed later")
    past.told("removed later", at=LATE, action="REMOVE")
    past.told("created later", at=LATE)

    rebuilt = past.run()

    assert {pk: item["version"] for pk, item in past.stored().items()} == {"kept": 1, "changed": 2, "removed later": 1}
    assert past.stored()["kept"]["nested"] == {"n": [1, None, True]}
    assert (rebuilt.records, rebuilt.written, rebuilt.incomplete) == (3, 3, 0)


def test_numbers_come_back_exact(past: Past) -> None:
    """Fifteen digits before the point and nine after it, which no float holds, and the nearest ones that one does."""
    numbers = [Decimal(text) for text in ("123456789012345.123456789", "-0.000000001", "12345678.123456789", "0.5")]
    past.told("exact", total=numbers[0], levels=numbers)

    past.run()

    stored = past.stored()["exact"]
    assert (stored["total"], stored["levels"]) == (numbers[0], numbers)
    assert "exact_numbers" not in stored


def test_what_the_lake_never_knew_is_counted(past: Past) -> None:
    """By kind and attribute; the rest of such a record comes back."""
    past.told("whole", plan="team")
    past.told("named", kind="user", email="zoe@example.com", plan="team")
    past.told("TOKEN#" + "ab" * 32, kind="token")
    past.told("binary", kind="file", content=b"\x00\x01")
    past.told("folded", kind="billing", inputs=pack(b'{"customers":[]}'))

    rebuilt = past.run()

    assert (rebuilt.records, rebuilt.incomplete) == (5, 4)
    assert rebuilt.incomplete_fields == {"user.email": 1, "token.pk": 1, "file.content": 1, "billing.inputs": 1}
    assert past.stored()["named"] == {
        "pk": "named", "sk": "R", "kind": "user", "version": 1, "email": redaction.REDACTED, "plan": "team"
    }  # fmt: skip


def test_an_image_in_s3_comes_back(past: Past) -> None:
    image = {"pk": "large", "sk": "R", "kind": "workspace", "version": 1, "plan": "team"}
    content = json.dumps({"old_image": None, "new_image": image}).encode()
    past.told("large", ref=past.objects.put("payloads", content))

    past.run()

    assert past.stored()["large"] == image


def test_the_rebuilt_table_equals_the_lake(past: Past) -> None:
    """By the proof that the live table passes."""
    for number in range(5):
        past.told(f"r{number}", email="a@b.de", inputs=pack(b'{"customers":["cus_1"]}'))
    past.run()
    verification = Verification(store=past.target, ledger=past.ledger, objects=past.objects, now=NOW)

    [report] = verification.run(["records"])

    assert (report.differences, report.compared) == ([], 5)


def test_a_dry_run_only_counts(past: Past) -> None:
    past.told("a")

    rebuilt = past.run(dry_run=True)

    assert (rebuilt.records, rebuilt.written, past.stored()) == (1, 0, {})


def test_a_run_that_died_is_resumed(past: Past) -> None:
    """Every record once, though the first 100 were there."""
    for number in range(150):
        past.told(f"r{number:03}")
    with pytest.raises(Unavailable):
        past.run(Dying(past.target))

    rebuilt = past.run(resume=True)

    assert (rebuilt.records, rebuilt.written, len(past.stored())) == (150, 50, 150)


def test_large_records_travel_in_several_transactions(past: Past) -> None:
    """DynamoDB takes 4 MB in one, and an item of 400 KB; what is larger is named."""
    for number in range(12):
        past.told(f"r{number:02}", notches=["x" * 100] * 3_400)
    past.told("too large", notches=["x" * 100] * 4_000)

    rebuilt = past.run()

    assert (rebuilt.records, rebuilt.written, len(past.stored())) == (13, 12, 12)
    assert (rebuilt.too_large, rebuilt.left_out) == (1, [Key("too large", "R")])


def test_a_record_whose_image_is_gone_is_left_out(past: Past) -> None:
    """What lay beside the lake was not restored with it: it is named, and the others come back."""
    past.told("gone", ref=f"payloads/{64 * 'a'}")
    past.told("here", name="one")

    rebuilt = past.run()

    assert (rebuilt.records, rebuilt.written, rebuilt.lost) == (2, 1, 1)
    assert rebuilt.left_out == [Key("gone", "R")]
    assert past.stored().keys() == {"here"}


def test_a_report_names_a_hundred_and_counts_all(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory does not grow with the table."""
    monkeypatch.setattr(rebuild_module, "_ITEM_BYTES", 10)
    for number in range(105):
        past.told(f"r{number:03}")

    rebuilt = past.run(dry_run=True)

    assert (rebuilt.records, rebuilt.too_large, len(rebuilt.left_out)) == (105, 105, 100)


@pytest.mark.parametrize("resume", [False, True])
def test_nothing_is_replaced(past: Past, resume: bool) -> None:
    """A table with something else in it is refused, and stays as it is."""
    past.told("a", plan="team")
    stranger = {"pk": "a", "sk": "R", "kind": "workspace", "version": 9}
    past.target.commit([Put(table=Table.RECORDS, item=stranger)])

    with pytest.raises(Refused):
        past.run(resume=resume)

    assert past.stored() == {"a": stranger}


def test_a_time_that_may_be_on_its_way_is_refused(past: Past) -> None:
    with pytest.raises(Refused):
        past.run(as_of=NOW - timedelta(seconds=60))
