"""Every type of event that the code can put on the bus has a schema, a sample and a page. None holds personal data."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from docs.samples import samples
from docs.site.reference import event_pages, samples_of
from tests.support.flows.changes import billing
from tests.support.lake.build import NOW
from tests.support.project import EVENTS, ROOT

from nilometer.domain.billing.record.changes import BILLING_EVENTS, OWN_LIMITS_FIELDS
from nilometer.domain.lake.change import Change, ItemAction
from nilometer.domain.lake.dataset import BATCH_READY
from nilometer.domain.lake.redaction import is_private
from nilometer.domain.limits.limit import Limit, alert
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.flows.inbox.envelope import RECORD_CHANGED
from nilometer.flows.lake.kinds import ANNOUNCED, KINDS, announced
from nilometer.flows.operations.types import TYPES
from nilometer.flows.publish import asyncapi
from nilometer.flows.publish.announced import BILLING_FIELDS
from nilometer.flows.publish.event_schemas import STRIPE_EVENT, all_schemas
from nilometer.flows.publish.usage_schemas import schemas as usage_schemas

SOURCES = ROOT / "src" / "nilometer"
SCHEMAS = all_schemas()
# Every place that makes an entry for the bus, and the types that it can have there.
PUBLISHING = {
    "flows/lake/announcing.py": ANNOUNCED,
    "flows/billing/webhook.py": {STRIPE_EVENT},
    "flows/publish/usage.py": usage_schemas().keys(),
    "flows/publish/datasets.py": {BATCH_READY},
    "cli/usage/commands.py": usage_schemas().keys(),
    "local/demo/demo.py": {*TYPES, *usage_schemas()},  # what services send, in a month that is played
    "client/testing/fake.py": {STRIPE_EVENT},  # a bus in memory
}
MAIL = "zoe@example.com"


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a function or class in the sources, with the file."""
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                yield str(path.relative_to(SOURCES)), node


def test_every_place_that_publishes_is_known() -> None:
    """A new one has to say which types it sends; the relay's own are those that its table of kinds declares."""
    assert {place for place, _ in calls("BusEntry")} == PUBLISHING.keys()
    assert {ast.unparse(call.args[1]) for _, call in calls("bus_entry")} == {"RECORD_CHANGED", "one.type"}


@pytest.mark.parametrize("name", sorted({name for types in PUBLISHING.values() for name in types} | TYPES.keys()))
def test_every_type_has_schema_sample_and_page(name: str) -> None:
    """The types are those of the code; the schema is on disk, has an id, and each sample follows it."""
    schema = json.loads((EVENTS / "schemas" / f"{name}.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)

    assert schema["$id"] == f"urn:nilometer:schema:{name}"
    assert schema["description"]
    assert f"# {name}\n" in event_pages()[f"events/{name}.md"]
    assert samples_of(name)
    for path in samples_of(name):
        sample = json.loads(path.read_text())
        validator.validate(sample.get("detail", sample))


def test_no_schema_is_left_over() -> None:
    """Each is of a type that the code sends or takes."""
    known = {name for types in PUBLISHING.values() for name in types} | TYPES.keys()

    assert {path.stem for path in (EVENTS / "schemas").glob("*.json")} == known == SCHEMAS.keys()


def test_the_relay_announces_no_type_that_it_does_not_declare() -> None:
    """It would have no schema; and each declared type but that of changes themselves has a change that announces it."""
    assert samples().keys() == ANNOUNCED - {RECORD_CHANGED}
    undeclared = [kind for kind in KINDS.values() if not kind.announces.types <= ANNOUNCED]
    assert undeclared == []


@pytest.mark.parametrize("name", sorted(ANNOUNCED - {RECORD_CHANGED}))
def test_a_schema_knows_every_field_of_its_sample(name: str) -> None:
    """Nothing is announced that the schema does not name, and nothing that it needs may be missing."""
    detail = samples()[name]["detail"]
    validator = jsonschema.Draft202012Validator(closed(SCHEMAS[name]))

    validator.validate(detail)
    assert not validator.is_valid({**detail, "data": {**detail["data"], "unknown": 1}})
    assert not validator.is_valid({**detail, "data": {}})
    assert not validator.is_valid({**detail, "type": "other"})


def test_every_field_of_a_billing_event_has_a_type() -> None:
    """And no type is of a field that no event has."""
    assert {name for names in (*BILLING_EVENTS.values(), OWN_LIMITS_FIELDS) for name in names} == BILLING_FIELDS.keys()


@pytest.mark.parametrize("name", sorted(ANNOUNCED - {RECORD_CHANGED}))
def test_no_announced_field_may_hold_personal_data(name: str) -> None:
    """By the names that the lake redacts; a reject's message is a text of ours, without addresses."""
    assert set(filter(is_private, properties(SCHEMAS[name]))) <= {"message"}


@pytest.mark.parametrize("kind", sorted({kind for _, kind in KINDS}))
def test_no_announcement_tells_an_address(kind: str) -> None:
    """Whatever a sender chose as id, source, cause or name, and whatever stands beside it in the record."""
    for new, old in poisoned():
        if new["kind"] == kind:
            told = [entry.detail for entry in announced(change(new, old))]
            assert told
            assert MAIL not in "".join(told)


def test_the_expiry_of_a_card_is_not_announced() -> None:
    """That something changed is; of the card remain id and type."""
    card = {"id": "pm_1", "type": "card", "exp_month": 1, "exp_year": 2030}
    before, after = billing(payment_method=card), billing(version=2, payment_method={**card, "exp_year": 2031})

    [entry] = announced(change(after, before))

    data = json.loads(entry.detail)["data"]
    assert data["after"] == data["before"] == {"payment_method": {"id": "pm_1", "type": "card"}}


def test_asyncapi_describes_every_type() -> None:
    """Each message is taken or announced; every reference leads somewhere."""
    document = asyncapi.document()
    messages = document["channels"]["bus"]["messages"]
    operations = document["operations"].values()
    handled = [one["$ref"].rpartition("/")[2] for operation in operations for one in operation["messages"]]

    assert json.loads((ROOT / "docs" / "asyncapi.json").read_text()) == document
    assert sorted(messages) == sorted(handled) == sorted(SCHEMAS)
    assert {one["$ref"].rpartition("/")[2] for one in document["operations"]["announce"]["messages"]} == ANNOUNCED
    for reference in references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert found


def poisoned() -> Iterator[tuple[Item, Item | None]]:
    """Records and rejects with an address wherever a sender may have put one, before and after."""
    own = {"pk": "WORKSPACE#ws_1", "sk": "LIMITS", "kind": "limits", "version": 2, "workspace_id": "ws_1"}
    yield {**own, "own_limits": {"calls": {"included": 1, "ends_at": None}}, "cause": MAIL}, None
    lock = {"pk": "WORKSPACE#ws_1", "sk": "LOCKOUT#u", "kind": "lockout", "version": 1, "workspace_id": "ws_1"}
    yield {**lock, "user_id": "u", "locked_until": "2026-11-23T04:29:04.000Z", "cause": MAIL}, None
    hook = {"url": f"https://example.com/{MAIL}", "types": [], "off": "gone", "failing_since": None, "created_at": "t"}
    hooks = {MAIL: {**hook, "secrets": [{"id": "s", "ends_at": None}]}}
    place = {"pk": "WORKSPACE#ws_1", "sk": "WEBHOOKS", "kind": "webhooks", "version": 1, "workspace_id": "ws_1"}
    yield {**place, "webhooks": hooks, "cause": MAIL}, None
    limit = Limit(included=Decimal(1), soft=None, hard=Decimal(1))
    period = ("2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z")
    yield alert("ws_1", "calls", "80", limit, used=Decimal(1), period=period, now=NOW, cause=MAIL).item, None
    chosen = dict.fromkeys(("event_id", "source", "workspace_id", "payload"), MAIL)
    reject = {"pk": "REJECT#usage#2026-11-23", "sk": "ab", "kind": "reject", "version": 1, "flow": "usage"}
    yield {**reject, **chosen, "reason": "too_old", "message": f"{MAIL} is no meter", "received_at": "t"}, None
    named = {"plan": f"Pro for {MAIL}", "features": [MAIL], "status": "active", "email": MAIL}
    card = {"id": "pm_1", "type": "card", "billing_details": MAIL}
    yield billing(version=2, cause=MAIL, payment_method=card, **named), billing(plan=MAIL)


def change(new: Item, old: Item | None = None) -> Change:
    return Change(
        change_id="c1",
        table=Table.EVENTS if new["kind"] == "reject" else Table.RECORDS,
        action=ItemAction.MODIFY if old else ItemAction.INSERT,
        key=Key(new["pk"], new["sk"]),
        old=old,
        new=new,
        sequence_number="1",
        occurred_at=1_795_407_245,
    )


def closed(schema: Any) -> Any:
    """The schema as it would be if objects had no fields but those that it names."""
    match schema:
        case {"properties": Mapping()}:
            return {"additionalProperties": False, **{name: closed(one) for name, one in schema.items()}}
        case dict():
            return {name: closed(one) for name, one in schema.items()}
        case list():
            return [closed(one) for one in schema]
        case _:
            return schema


def properties(schema: Any) -> Iterator[str]:
    """Names of all fields, at any depth."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for one in inner:
        yield from properties(one)


def references(document: Any) -> Iterator[str]:
    """Targets of all references."""
    match document:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            for one in document.values():
                yield from references(one)
        case list():
            for one in document:
                yield from references(one)
