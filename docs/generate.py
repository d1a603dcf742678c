"""Writes what is made from the code and from tables: docs/data.md, events/schemas/, events/announced/,
docs/openapi.json, docs/asyncapi.json, schemas.yaml, the client's services for an event loop, and the blocks of
template.yaml.

`python docs/generate.py`.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from docs.entities import ENTITIES, Entity
from docs.registry import template
from docs.samples import samples
from docs.template import blocks
from docs.typescript import declarations

from nilometer.domain.acts.roles import MATRIX, Permission, Role
from nilometer.domain.store import keys
from nilometer.flows.api.description.openapi import document
from nilometer.flows.api.routes import ROUTES
from nilometer.flows.inbox.wire import first_line
from nilometer.flows.operations.types import TYPES
from nilometer.flows.publish import asyncapi
from nilometer.flows.publish.event_schemas import all_schemas

ROOT = Path(__file__).parent.parent

INTRODUCTION = """\
# Operational data

Who may do what in which workspace, and all else that is not billing or usage. Made from the code by
`python docs/generate.py`; a test keeps it current.

Every record belongs to the workspace of the caller who wrote it and carries `kind`, `version`, `updated_at`, `cause`
(the event) and `actor`. Every change is a row of the table `audit` in the lake and an event `record.changed.v1` on the
bus, with tokens, hashes and addresses redacted. What has an end carries `expires_at`; DynamoDB removes it up to two
days late, so every read compares it with the clock, and the removal is `EXPIRED` in the audit.

Services publish the events below as CloudEvents ([schemas](../events/schemas), [samples](../events/operations)); the
workspace is the event's `subject`, and no other field can name one. The same deeds are a Python library:
`perform(store, caller, deed, now=now)` decides a deed in the workspace of the `Caller`, and `issue` one that creates a
secret. Of an event a fact and its effect are one transaction, and a copy changes nothing. The bus keeps no order: an
event that builds on what is not known yet, or that a rule forbids, waits for a bounded time, then it is a reject. The
later event wins, so one whose `time` is more than five minutes ahead is a reject too (`too_far_in_future`).

<!-- tried by tests/flows/publish/test_public.py -->
```python
import nilometer
from nilometer import CreateWorkspace, Invite, OpenSession, Role, access, issue, members, perform

store = nilometer.connect().store()  # a stack by name, the one that the environment names, or the one running here
accounts = nilometer.service("ws_acme", "accounts")  # one of our services, at work in one workspace
perform(store, accounts, CreateWorkspace(name="Acme", slug="acme", admin="user_ada"), now=now)
session = issue(store, accounts, OpenSession(user_id="user_ada"), now=now)  # session.token is shown once

caller = access.authenticate(store, session.token, now=now)  # at every request: who, where, as what
sent = issue(store, caller, Invite(email="grace@example.com", role=Role.ANALYST), now=now)
members.accept_invitation(store, sent.token, user_id="user_grace", email="grace@example.com", now=now)
```

`now` is an aware UTC datetime. All that a service imports is in `nilometer` itself; every module below may move.

A service that imports the library needs these rights and no others; the ARNs are those of the stack's outputs
`RecordsTable`, `EventsTable` and `LakeBucket`. Whoever has them is an operator: the workspace and the role are
checked by the library, not by IAM, so callers come from sessions and memberships, never from what a request names.

```json
{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "dynamodb:GetItem",
        "dynamodb:BatchGetItem",
        "dynamodb:Query",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
        "dynamodb:DeleteItem",
        "dynamodb:ConditionCheckItem"
      ],
      "Resource": ["RECORDS_TABLE_ARN", "RECORDS_TABLE_ARN/index/gsi1", "EVENTS_TABLE_ARN"]
    },
    {
      "Effect": "Allow",
      "Action": ["s3:GetObject", "s3:PutObject"],
      "Resource": ["LAKE_BUCKET_ARN/attachments/*"]
    }
  ]
}
```
"""


def pages() -> dict[Path, str]:
    """Every generated file with its content."""
    schemas = {
        ROOT / "events" / "schemas" / f"{name}.json": json.dumps(one, indent=2) + "\n"
        for name, one in all_schemas().items()
    }
    announced = {
        ROOT / "events" / "announced" / f"{name}.json": json.dumps(one, indent=2) + "\n"
        for name, one in samples().items()
    }
    registry = {ROOT / "schemas.yaml": template()}
    stack = {blocks.TEMPLATE: blocks.filled(blocks.TEMPLATE.read_text())}
    api = {
        ROOT / "docs" / "openapi.json": json.dumps(document(ROUTES), indent=1) + "\n",
        ROOT / "docs" / "asyncapi.json": json.dumps(asyncapi.document(), indent=1) + "\n",
    }
    client = ROOT / "src" / "nilometer" / "client"
    services = {client / "aio" / "services.py": on_a_loop((client / "services.py").read_text())}
    node = {ROOT / "clients" / "node" / "api.d.ts": declarations()}
    return {
        ROOT / "docs" / "data.md": "\n".join(_data()),
        **stack,
        **registry,
        **schemas,
        **announced,
        **api,
        **services,
        **node,
    }


def on_a_loop(services: str) -> str:
    """The client's services for an event loop: each public method is a coroutine, each request is awaited."""
    text = re.sub(r"^    def (?=[a-z])", "    async def ", services, flags=re.MULTILINE)
    text = re.sub(r"(\w+Service)\b", r"Async\1", text).replace("Sender", "AsyncSender")
    own = "from nilometer.client.sending import AsyncSender\n"
    imports = "from nilometer.client.request import"
    text = text.replace(own, "").replace(imports, f"{own.replace('client.', 'client.aio.')}{imports}")
    text = re.sub(r"(self\._send\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))(\.)", r"(await \1)\2", text)
    text = re.sub(r"(?<!\(await )self\._send\(", "await self._send(", text)
    _, _, rest = text.partition('"""\n')
    return '"""`services` for an event loop: made of it by docs/generate.py."""\n' + rest


def _data() -> Iterator[str]:
    yield INTRODUCTION
    yield "## Who may do what\n"
    yield from _matrix()
    yield "`-` for all: only our own services and operators. A role is given, changed and taken only by a higher one;"
    yield "Admins also rule Admins. The last Admin of a workspace cannot leave, be removed or be demoted.\n"
    for entity in ENTITIES:
        yield from _entity(entity)


def _matrix() -> Iterator[str]:
    """Of a deed whose need depends on what it says, such as the closing of a workspace, its docstring tells."""
    needed: dict[Permission, list[str]] = {}
    for deed in dict.fromkeys(TYPES.values()):
        if deed.permission:
            needed.setdefault(deed.permission, []).append(f"`{deed.__name__}`")
    yield f"| permission | {' | '.join(Role)} | deeds that always need it |"
    yield f"|---|{'---|' * (len(Role) + 1)}"
    for permission in Permission:
        marks = ("x" if permission in MATRIX[role] else "-" for role in Role)
        yield f"| `{permission}` | {' | '.join(marks)} | {', '.join(needed.get(permission, ()))} |"
    yield ""


def _entity(entity: Entity) -> Iterator[str]:
    yield f"## {entity.name}\n"
    yield f"{entity.meaning}\n"
    yield "| record | table or index | partition key | sort key |\n|---|---|---|---|"
    for row in entity.rows:
        yield from (f"| {name} | {place} | `{pk}` | `{sk}` |" for name, place, pk, sk in key_rows() if name == row)
    if entity.access:
        yield "\n| access | function |\n|---|---|"
    yield from (f"| {question} | {_code(functions)} |" for question, functions in entity.access)
    yield f"\nKinds: {_code(', '.join(entity.kinds))}. Ends: {entity.ends}."
    if entity.permissions:
        named = [one for one in Permission if one.startswith(entity.permissions)]
        yield f"Permissions: {_code(', '.join(named))}."
    if entity.command:
        yield f"Command line: `nilometer {entity.command}`."
    yield ""
    yield from _rules(entity)
    events = [name for name in TYPES if name.startswith(entity.events)]
    if events:
        yield "| deed | needs | event | says |\n|---|---|---|---|"
        yield from map(_deed, events)
        yield ""
    for name in entity.announces:
        yield f"Announced on the bus, once, by the stack itself: [`{name}`](../events/schemas/{name}.json)"
        yield f"([sample](../events/announced/{name}.json)).\n"


def _deed(event: str) -> str:
    deed = TYPES[event]
    needs = f"`{deed.permission}`" if deed.permission else "-"
    return f"| `{deed.__name__}` | {needs} | [`{event}`](../events/schemas/{event}.json) | {first_line(deed)} |"


def _rules(entity: Entity) -> Iterator[str]:
    """The table or the list that the module's docstring draws."""
    if entity.rules:
        drawing = importlib.import_module(entity.rules).__doc__ or ""
        lines = [line for line in drawing.splitlines() if line.startswith(("|", "    "))]
        fence = [] if lines[0].startswith("|") else ["```"]
        yield "\n".join(["What decides:\n", *fence, *(line.removeprefix("    ") for line in lines), *fence, ""])


def key_rows() -> Iterator[tuple[str, str, str, str]]:
    """Name, place, partition key and sort key of every row of the key table: `records`, `events` and the index."""
    place = ""
    for name, pk, sk in re.findall(r"^\| (.+?) *\| (.+?) *\| (.+?) *\|$", keys.__doc__ or "", re.MULTILINE):
        if pk.endswith("pk"):  # the head of one of the three
            place = "`gsi1`" if pk.startswith("gsi1") else f"`{name}`"
        else:
            yield name, place, pk, sk


def _code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


def main() -> None:
    for path, content in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


if __name__ == "__main__":
    main()
