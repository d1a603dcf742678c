"""What an internal service imports: complete, described, typed, light, and all that the documents show."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.flows.operations import NOW
from tests.support.project import ROOT

import nilometer
from nilometer import CreateMeter, operator, perform
from nilometer.aws.clients import client
from nilometer.aws.dynamodb import Store
from nilometer.domain.store.writes import Table

PUBLIC = sorted({*nilometer._MODULES, *nilometer._HOME_OF})
SOURCE = ast.parse(Path(nilometer.__file__).read_text())
DOCUMENTS = ("data.md", "usage.md", "lake.md")


def examples(document: str) -> list[str]:
    """Those in Python that use this package."""
    text = (ROOT / "docs" / document).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if re.search(r"^(import|from) nilometer", block, re.MULTILINE)]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_says_what_it_is(name: str) -> None:
    """It exists, and a reader of `help()` learns what it is for."""
    assert inspect.getdoc(getattr(nilometer, name))
    assert name in dir(nilometer)


def test_what_a_type_checker_sees_is_what_is_imported() -> None:
    """The imports for mypy and the table of PEP 562 name the same things at the same places."""
    [block] = [node for node in SOURCE.body if isinstance(node, ast.If)]
    seen = {one.asname: f"{node.module}.{one.name}" for node in block.body for one in node.names}  # type: ignore[attr-defined]
    homes = {name: f"nilometer.{home}.{name}" for name, home in nilometer._HOME_OF.items()}

    assert seen == homes | {name: f"nilometer.{module}" for name, module in nilometer._MODULES.items()}


def test_the_package_alone_is_light() -> None:
    """`import nilometer` loads none of our modules and no dependency: every Lambda pays for it at a cold start."""
    code = (
        "import json, sys; before = set(sys.modules); import nilometer; print(json.dumps([*set(sys.modules) - before]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {name.partition(".")[0] for name in json.loads(done.stdout)} & {"nilometer", "boto3", "msgspec"} == {
        "nilometer"
    }
    assert [name for name in json.loads(done.stdout) if name.startswith("nilometer.")] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of every module."""
    with pytest.raises(AttributeError, match="nothing"):
        _ = nilometer.nothing


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_import_the_public_names_alone(document: str) -> None:
    """An example that names an inner module would break when that moves."""
    for example in examples(document):
        for node in ast.walk(ast.parse(example)):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            inner = [name for name in names if name and name.startswith("nilometer.")]
            assert [name for name in inner if name != "nilometer.lake"] == []  # public too, for analysts


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_examples_of_the_documents_run(
    document: str, store: Store, stack: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they stand there, against the stack that the environment names."""
    services = nilometer.service("ws_1", "services")
    nilometer.perform(store, services, nilometer.CreateWorkspace(name="One", admin="ada"), now=NOW)
    perform(
        store,
        operator("test"),
        CreateMeter(meter="llm_tokens", unit="token", aggregation="sum", dimensions=["model"]),
        now=NOW,
    )
    known: dict[str, Any] = {"now": NOW}

    assert examples(document)
    for example in examples(document):
        exec(example, known)  # noqa: S102  # our own documents

    if document == "data.md":
        found = nilometer.members.members(store, nilometer.service("ws_acme", "test"))
        assert {one.user_id: one.role for one in found} == {"user_ada": "Admin", "user_grace": "Analyst"}


@pytest.fixture
def stack(store: Store, objects: Any, dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bus beside the tables and the bucket, named as in a service's environment."""
    client.cache_clear()
    bus = f"bus-{objects.bucket}"
    client("events").create_event_bus(Name=bus)
    monkeypatch.setenv("RECORDS_TABLE", store._names[Table.RECORDS])
    monkeypatch.setenv("EVENTS_TABLE", store._names[Table.EVENTS])
    monkeypatch.setenv("LAKE_BUCKET", objects.bucket)
    monkeypatch.setenv("BUS_NAME", bus)
