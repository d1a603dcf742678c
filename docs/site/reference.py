"""The reference of commands and of events, made from the code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from nilometer.cli.program import SECTIONS, cli

ROOT = Path(__file__).parent.parent.parent


def commands() -> str:
    """Every command with its help as the terminal shows it at 100 columns, by section."""
    return "\n".join(_commands())


def _commands() -> Iterator[str]:
    yield "# Commands\n\nEvery command has `--help`, and `--json` where it prints data.\n"
    context = click.Context(cli, info_name="nilometer")
    for section, entries in SECTIONS.items():
        yield f"## {section}\n"
        for name, _, _ in entries:
            command = cli.get_command(context, name)
            if command:
                yield from _command(command, name, context)


def _command(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = command.context_class(
        command, info_name=name, parent=parent, terminal_width=100, color=False, **command.context_settings
    )
    yield f"### {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found:
                yield from _command(found, inner, context)


def events() -> str:
    """Every event that has a schema, with its fields and a sample."""
    return "\n".join(_events())


def _events() -> Iterator[str]:
    yield "# Events\n\nCloudEvents on the bus: what services publish, and what the stack announces.\n"
    samples = {path.name: path for path in (ROOT / "events").glob("*/*.json") if path.parent.name != "schemas"}
    for path in sorted((ROOT / "events" / "schemas").glob("*.json")):
        schema = json.loads(path.read_text())
        yield f"## {path.stem}\n\n{schema.get('description', '')}\n"
        yield from _fields(schema)
        if path.name in samples:
            yield f"```json\n{samples[path.name].read_text().strip()}\n```\n"


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    definitions = schema.get("$defs", {})
    data = _resolved(schema.get("properties", {}).get("data", {}), definitions)
    if "properties" not in data:
        return
    yield "| field of `data` | type | required | |\n|---|---|---|---|"
    for name, stated in data["properties"].items():
        field = {**_resolved(stated, definitions), **stated}
        meaning = str(field.get("description", "")).replace("|", "\\|").replace("\n", " ")
        yield f"| `{name}` | {_kind(field)} | {'yes' if name in data.get('required', []) else ''} | {meaning} |"
    yield ""


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """What `$ref` refers to."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return definitions[name] if name else schema


def _kind(field: dict[str, Any]) -> str:
    """The types that a field takes, or its values."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kinds = field.get("type") or [one.get("type", "object") for one in field.get("anyOf", [{}])]
    return " or ".join(f"`{kind}`" for kind in (kinds if isinstance(kinds, list) else [kinds]))
