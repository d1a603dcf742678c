"""What is made from the code is current, and what it names exists."""

from __future__ import annotations

import importlib.util
import json
from functools import reduce
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from docs.entities import ENTITIES
from tests.support.project import ROOT

import nilometer
from nilometer.cli.program import SECTIONS
from nilometer.domain.acts.roles import Permission
from nilometer.flows.lake.kinds import ANNOUNCED
from nilometer.flows.operations.types import TYPES
from nilometer.flows.publish.event_schemas import batch_ready_schema, schema

SAMPLES = sorted((ROOT / "events" / "operations").glob("*.json"))
# Permissions of what is not operational data.
ELSEWHERE = ("billing.", "usage.", "history.")


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_generated_file_is_current() -> None:
    """Run `python docs/generate.py` after a change of keys, roles, events, entities or docs/template/tables.py."""
    wanted = generator().pages()
    stale = [
        str(path.relative_to(ROOT)) for path, text in wanted.items() if not path.exists() or path.read_text() != text
    ]
    left = {path for folder in ("schemas", "announced") for path in (ROOT / "events" / folder).glob("*.json")}

    assert stale == []
    assert left <= wanted.keys()


def test_every_entity_names_what_exists() -> None:
    """Rows of the key table, and functions that a service imports."""
    rows = {name for name, *_ in generator().key_rows()}
    missing = [row for entity in ENTITIES for row in entity.rows if row not in rows]
    for entity in ENTITIES:
        for _, functions in entity.access:
            for name in functions.split(", "):
                found = reduce(lambda of, part: getattr(of, part, None), name.split("."), nilometer)
                missing += [] if callable(found) else [name]

    assert missing == []


def test_every_event_and_permission_has_its_entity() -> None:
    """One: nothing is left out, nothing is in two."""
    for name in TYPES:
        assert sum(name.startswith(entity.events) for entity in ENTITIES if entity.events) == 1, name
    for permission in Permission:
        named = any(entity.permissions and permission.startswith(entity.permissions) for entity in ENTITIES)
        assert named != permission.startswith(ELSEWHERE), permission


def test_every_event_type_says_what_it_means() -> None:
    """Its deed has a docstring."""
    assert [name for name, deed in TYPES.items() if not deed.__doc__] == []


def test_every_event_type_has_a_sample() -> None:
    """And no sample is of another type."""
    assert {path.stem for path in SAMPLES} == TYPES.keys()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_follows_its_schema(path: Path) -> None:
    """And would not without its data."""
    event = json.loads(path.read_text())["detail"]
    validator = jsonschema.Draft202012Validator(schema(path.stem))

    validator.validate(event)
    assert not validator.is_valid({**event, "data": {**event["data"], "unknown": 1}})
    assert not validator.is_valid({**event, "type": "other"})


def test_what_an_entity_announces_exists() -> None:
    """And is announced by no other."""
    named = [name for entity in ENTITIES for name in entity.announces]

    assert len(set(named)) == len(named)
    assert set(named) <= ANNOUNCED


def test_the_samples_of_batches_follow_their_schema() -> None:
    """Each has an object or rows, and nothing else."""
    validator = jsonschema.Draft202012Validator(batch_ready_schema())
    samples = [json.loads(path.read_text())["detail"] for path in (ROOT / "events" / "datasets").glob("*.json")]

    assert {name for sample in samples for name in sample["data"]} == {"dataset", "object", "rows"}
    for sample in samples:
        validator.validate(sample)
        for more in ({"unknown": 1}, {"rows": [], "object": samples[0]["data"].get("object")}):
            assert not validator.is_valid({**sample, "data": {**sample["data"], **more}})


def test_every_entity_has_a_command() -> None:
    """A group of the command line; only a customer's link is part of a larger one."""
    commands = {name for section in SECTIONS.values() for name, _, _ in section}
    missing = [one.name for one in ENTITIES if one.command not in commands]

    assert missing == ["Customer link"]
