"""The reference of commands and of events, made from the code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from nilometer.cli.program import SECTIONS, cli
from nilometer.flows.inbox.envelope import CHANGES
from nilometer.flows.publish.event_schemas import STRIPE_EVENT

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
    """Every type of event with what it says, by who sends it, and a link to its page."""
    return "\n".join(_events())


def event_pages() -> dict[str, str]:
    """A page a type, by its path: what it says, its fields, its samples, its schema."""
    return {f"events/{name}.md": "\n".join(_event(name, schema)) for name, schema in _schemas().items()}


def _schemas() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "events" / "schemas").glob("*.json"))}


_SENDERS = {
    "The stack announces": "Each once, whatever order and however often its cause arrived; a copy has the same `id`. "
    "None holds personal data. A rule on the bus brings them to a service: `source` is `nilometer.changes`.",
    "Services publish": "CloudEvents by `PutEvents`, or by the library; usage also over HTTP.",
    "The webhook publishes": "Stripe's own events, under Stripe's own types.",
}


def _events() -> Iterator[str]:
    schemas = _schemas()
    yield "# Events\n\nEvery event on the bus: what the stack announces, and what it takes. Each has a page with its"
    yield "fields and samples, and a JSON Schema with `$id` in `events/schemas`. `docs/asyncapi.json` describes"
    yield "all of them (AsyncAPI 3.0).\n"
    for sender, how in _SENDERS.items():
        yield f"## {sender}\n\n{how}\n\n| type | |\n|---|---|"
        of_sender = {name: schema for name, schema in schemas.items() if _sender(name, schema) == sender}
        yield from (f"| [`{name}`](events/{name}.md) | {schema['description']} |" for name, schema in of_sender.items())
        yield ""


def _sender(name: str, schema: dict[str, Any]) -> str:
    announces, publish, webhook = _SENDERS
    if name == STRIPE_EVENT:
        return webhook
    return announces if schema["properties"]["source"].get("const") == CHANGES else publish


def _event(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"# {name}\n\n{schema['description']}\n"
    yield f"{_sender(name, schema)} it. Schema: `{schema['$id']}`, in `events/schemas/{name}.json`.\n"
    yield from _fields(schema)
    for path in samples_of(name):
        yield f"Sample `{path.relative_to(ROOT)}`:\n\n```json\n{path.read_text().strip()}\n```\n"


def samples_of(name: str) -> list[Path]:
    """The files in events/ that show such an event."""
    if name == STRIPE_EVENT:
        return [ROOT / "events" / "stripe" / "customer.subscription.updated.json"]
    found = [path for path in (ROOT / "events").glob(f"*/{name}*.json") if path.parent.name != "schemas"]
    return sorted(path for path in found if path.name[len(name)] == ".")


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
        inner = field.get("properties", {}) if name == "after" else {}
        yield from (
            f"| `after.{part}` | {_kind(one)} | | {one.get('description', '')} |" for part, one in inner.items()
        )
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
