"""What a service sends through `flows.publish` is what the consumer counts, and what the schemas describe."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.support.flows.operations import NOW, envelope
from tests.support.flows.usage import batch, cloud, handle, outcomes, totals, void
from tests.support.project import EVENTS

from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import Bus, BusEntry
from nilometer.aws.s3 import Objects
from nilometer.errors import Rejected
from nilometer.flows.publish.usage import Event, publish, recorded, snapshot, voided
from nilometer.flows.publish.usage_schemas import schemas, text

SAMPLES = sorted((EVENTS / "usage").glob("*.json"))


class Client:
    """EventBridge's answers: refuses every third entry once."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.requests: list[int] = []
        self._refused: set[str] = set()

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803  # the API's name
        self.requests.append(len(Entries))
        answers: list[dict[str, str]] = []
        for n, entry in enumerate(Entries):
            refused = n % 3 == 2 and entry["Detail"] not in self._refused
            self._refused.update([entry["Detail"]] if refused else [])
            self.taken += [] if refused else [entry]
            answers.append({"ErrorCode": "ThrottlingException"} if refused else {"EventId": "x"})
        return {"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}


def usage(number: int, **given: Any) -> Event:
    known: dict[str, Any] = {
        "source": "/services/inference",
        "workspace_id": "ws_acme",
        "meter": "api_calls",
        "quantity": "1",
        "unit": "call",
        "time": NOW,
    }
    return recorded(f"e{number}", **{**known, **given})


def test_what_is_published_is_counted_once(ready: Store, objects: Objects) -> None:
    """2,350 events in 24 entries and few requests; refused entries are sent again, alone."""
    client = Client()

    assert publish(Bus(client, name="bus"), (usage(n) for n in range(2350))) == 2350  # type: ignore[arg-type]

    assert len(client.taken) == 24
    assert client.requests == [10, 3, 10, 3, 4, 1]
    bodies = [envelope(json.loads(entry["Detail"])) for entry in client.taken]
    assert set(outcomes(handle(ready, objects, *bodies))) == {"accepted"}
    assert totals(ready) == {"api_calls": 2350}


def test_kinds_and_origins_mix_in_a_batch(ready: Store, objects: Objects) -> None:
    """Every element keeps its own source, workspace and type."""
    client = Client()
    common: dict[str, Any] = {"source": "/other", "workspace_id": "ws_acme", "time": NOW}
    events = [
        usage(1, quantity=Decimal("2.50"), dimensions={"model": "m"}),
        usage(2, source="/other", quantity=7),
        snapshot("s1", meter="seats", quantity=4, unit="seat", **common),
        voided("v1", voids_id="e2", voids_time=NOW - timedelta(days=1), reason="test", **common),
    ]

    publish(Bus(client, name="bus"), events)  # type: ignore[arg-type]

    [entry] = client.taken
    detail = json.loads(entry["Detail"])
    jsonschema.validate(detail, schemas()[detail["type"]])
    handle(ready, objects, envelope(detail))
    assert totals(ready) == {"api_calls": Decimal("2.5"), "seats": 4}


def test_large_events_share_an_entry_only_up_to_what_is_billed_once() -> None:
    """The bus bills per 64 KB."""
    client = Client()
    events = [usage(n, dimensions={f"d{i}": "x" * 120 for i in range(8)}) for n in range(100)]

    publish(Bus(client, name="bus"), events)  # type: ignore[arg-type]

    assert len(client.taken) > 1
    assert all(BusEntry(source="s", detail_type="t", detail=e["Detail"]).size < 64_000 for e in client.taken)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"quantity": "-1"}, "quantity_invalid"),
        ({"quantity": Decimal("0.0000000001")}, "quantity_invalid"),
        ({"quantity": Decimal("1e300000000")}, "quantity_invalid"),
        ({"workspace_id": ""}, "invalid_schema"),
        ({"source": ""}, "invalid_schema"),
        ({"meter": "Api Calls"}, "unknown_meter"),
        ({"dimensions": {"model": "x" * 200}}, "too_large"),
    ],
)
def test_what_the_consumer_would_reject_is_not_built(given: dict[str, Any], reason: str) -> None:
    """The producer learns it at once, with the same reason."""
    with pytest.raises(Rejected) as caught:
        usage(1, **given)

    assert caught.value.reason == reason


def test_a_naive_time_is_a_mistake_of_the_producer() -> None:
    """Nobody guesses a time zone."""
    with pytest.raises(ValueError, match="naive"):
        usage(1, time=datetime(2026, 11, 23))  # noqa: DTZ001  # the point of the test


def test_the_schema_files_are_current() -> None:
    """`python -m nilometer.flows.publish.usage_schemas` writes them."""
    for type_, schema in schemas().items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert (EVENTS / "schemas" / f"{type_}.json").read_text() == text(schema)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_follows_its_schema(path: Path) -> None:
    """Samples, schemas and consumer say the same."""
    detail = json.loads(path.read_text())["detail"]

    jsonschema.validate(detail, schemas()[detail["type"]])


@pytest.mark.parametrize(
    "bad",
    [
        cloud(quantity=1.5),
        cloud(quantity="1e3"),
        cloud(quantity=-1),
        cloud(quantity=10**15),
        cloud(meter="X"),
        cloud(""),
        cloud() | {"subject": ""},
        cloud() | {"specversion": "0.3"},
        cloud() | {"data": {**cloud()["data"], "dimension": {}}},
        cloud(dimensions={f"d{n}": "x" for n in range(9)}),
        void("a") | {"data": {"event": "a"}},
        batch([]),
        batch([cloud(quantity=1.5)]),
        batch([cloud(str(n)) for n in range(101)]),
    ],
)
def test_schema_and_consumer_refuse_the_same(bad: dict[str, Any], ready: Store, objects: Objects) -> None:
    """A producer in another language learns from the schema what the consumer would reject."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schemas()[bad["type"]])

    assert outcomes(handle(ready, objects, bad)) == ["rejected"]
