"""Which calls to AWS a handler can reach, read from the source: a call graph by names.

A function is followed where its name, its module's attribute or a method of its name is used, so the graph may have an
edge too many. It has none too few as long as names stay as they are: the store's methods take `Table.X` first, writes
are `Put(table=Table.X)`, and a service is called `store`, `objects`, `landing`, `bus`, `queue` or `client`.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from tests.support.project import ROOT

import nilometer

Node = tuple[str, str]  # module, and qualified name in it
_DEED = re.compile(r"[a-z_.]+:[A-Z][A-Za-z]+")  # as the table of event types names it: `people.flag:SetFlag`


class Use(NamedTuple):
    """An action on a kind of resource: `records`, `events`, `index`, `lists`, `bucket`, `bus`, `queue`, `secret`."""

    action: str
    resource: str


_STORE = {
    "get": "dynamodb:GetItem",
    "batch_get": "dynamodb:BatchGetItem",
    "query": "dynamodb:Query",
    "scan": "dynamodb:Scan",
    "unlisted": "dynamodb:Scan",
    "put_all": "dynamodb:BatchWriteItem",
    "delete_all": "dynamodb:BatchWriteItem",
}
_WRITES = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "Check": "dynamodb:ConditionCheckItem",
}
_READ, _WRITE, _DELETE = (Use(f"s3:{verb}Object", "bucket") for verb in ("Get", "Put", "Delete"))
_SERVICES = {
    ("objects", "put"): _WRITE,
    ("objects", "get"): _READ,
    ("objects", "read"): _READ,
    ("objects", "below"): _READ,
    ("landing", "get"): _READ,
    ("landing", "put"): _WRITE,
    ("bus", "publish"): Use("events:PutEvents", "bus"),
    ("queue", "send"): Use("sqs:SendMessage", "queue"),
    ("objects", "delete"): _DELETE,
    ("client", "get_secret_value"): Use("secretsmanager:GetSecretValue", "secret"),
    ("client", "receive_message"): Use("sqs:ReceiveMessage", "dead letters"),
    ("client", "delete_message_batch"): Use("sqs:DeleteMessage", "dead letters"),
    ("client", "change_message_visibility_batch"): Use("sqs:ChangeMessageVisibility", "dead letters"),
    ("client", "send_message_batch"): Use("sqs:SendMessage", "queue"),
    ("client", "send_email"): Use("ses:SendEmail", "identity"),
    ("client", "invoke"): Use("lambda:InvokeFunction", "function"),
    ("client", "get_queue_attributes"): Use("sqs:GetQueueAttributes", "queue"),
    ("scheduler", "get_schedule"): Use("scheduler:GetSchedule", "schedule"),
    ("logs", "lines"): Use("logs:FilterLogEvents", "log"),
}
# What only commands and the console ask, by the method of a client, whatever its variable is called.
OF_COMMANDS = {
    "describe_stacks": "cloudformation:DescribeStacks",
    "list_stack_resources": "cloudformation:ListStackResources",
    "describe_table": "dynamodb:DescribeTable",
    "describe_time_to_live": "dynamodb:DescribeTimeToLive",
    "describe_continuous_backups": "dynamodb:DescribeContinuousBackups",
    "get_queue_attributes": "sqs:GetQueueAttributes",
    "list_event_source_mappings": "lambda:ListEventSourceMappings",
    "get_event_source_mapping": "lambda:GetEventSourceMapping",
    "get_function_configuration": "lambda:GetFunctionConfiguration",
    "filter_log_events": "logs:FilterLogEvents",
    "get_schedule": "scheduler:GetSchedule",
    "describe_event_bus": "events:DescribeEventBus",
    "list_archives": "events:ListArchives",
    "describe_archive": "events:DescribeArchive",
    "list_rules": "events:ListRules",
    "start_replay": "events:StartReplay",
    "describe_replay": "events:DescribeReplay",
    "get_bucket_versioning": "s3:GetBucketVersioning",
    "get_bucket_policy": "s3:GetBucketPolicy",
    "put_secret_value": "secretsmanager:PutSecretValue",
}
# Of the local stack what commands need to find, and to post to, one on AWS.
_FINDERS = {"nilometer.local.plane.deploy", "nilometer.local.demo.delivery", "nilometer.local.plane.connect"}
# What deltalake does to the bucket, by its method; in modules of nilometer.lake alone.
_DELTA = {
    "DeltaTable": (_READ,),
    "create": (_WRITE,),
    "create_write_transaction": (_WRITE,),
    "merge": (_WRITE,),
    "compact": (_READ, _WRITE),
    "create_checkpoint": (_WRITE,),
    "vacuum": (_DELETE,),
    "cleanup_metadata": (_DELETE,),
}


@dataclass(slots=True)
class Function:
    """What one function names, calls and asks of AWS."""

    names: set[Node] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)
    uses: set[Use] = field(default_factory=set)


@dataclass(slots=True)
class Graph:
    functions: dict[Node, Function] = field(default_factory=dict)
    classes: dict[Node, set[Node]] = field(default_factory=lambda: defaultdict(set))
    of_commands: bool = False

    def uses(self, start: Node) -> set[Use]:
        """Of the function and all that it reaches. A method counts once its class was named on the way."""
        seen: set[Node] = set()
        named: set[Node] = set()
        wanted: set[str] = set()
        todo = [start]
        while todo:
            node = todo.pop()
            if node in seen:
                continue
            seen.add(node)
            if node in self.classes:
                named |= self.classes[node]
            if found := self.functions.get(node):
                todo += found.names
                wanted |= found.methods
            todo += [one for one in named - seen if one[1].rpartition(".")[2] in wanted]
        return {use for node in seen if node in self.functions for use in self.functions[node].uses}


@cache
def graph() -> Graph:
    """Of all of nilometer below the handlers."""
    made = Graph()
    for path in sorted((ROOT / "src/nilometer").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        if not module.startswith(("nilometer.cli", "nilometer.local")):
            _read(made, module, ast.parse(path.read_text()))
    return made


@cache
def graph_of_commands() -> Graph:
    """The same with all that an operator types or a browser shows."""
    made = Graph(of_commands=True)
    for path in sorted((ROOT / "src/nilometer").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        if module in _FINDERS or not module.startswith(("nilometer.local", "nilometer.lambdas")):
            _read(made, module, ast.parse(path.read_text()))
    return made


def _read(made: Graph, module: str, tree: ast.Module) -> None:
    known = _imports(tree) | {
        one.name: (module, one.name) for one in tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef)
    }
    known |= {
        target.id: (module, target.id)
        for one in tree.body
        if isinstance(one, ast.Assign | ast.AnnAssign)
        for target in (one.targets if isinstance(one, ast.Assign) else [one.target])
        if isinstance(target, ast.Name)
    }
    for one in tree.body:
        match one:
            case ast.FunctionDef():
                made.functions[module, one.name] = _function(made, one, module, known)
            case ast.ClassDef():
                _class(made, one, module, known)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                made.functions[module, name] = _function(made, one, module, known)


def _class(made: Graph, tree: ast.ClassDef, module: str, known: Mapping[str, Node]) -> None:
    """Its methods wait until somebody names them; what runs when it is made does not wait."""
    node = (module, tree.name)
    made.classes[node] |= set()
    whole = Function(names={known[base.id] for base in tree.bases if isinstance(base, ast.Name) and base.id in known})
    for one in tree.body:
        if isinstance(one, ast.FunctionDef):
            method = (module, f"{tree.name}.{one.name}")
            made.functions[method] = _function(made, one, module, known)
            made.classes[node].add(method)
            if one.name.startswith("__"):
                whole.names.add(method)
        elif isinstance(one, ast.AnnAssign):  # a field: its name is no use of anything
            whole.names |= _function(made, one.annotation, module, known).names
            whole.names |= _function(made, one.value, module, known).names if one.value else set()
    made.functions[node] = whole


def _imports(tree: ast.Module) -> dict[str, Node]:
    return {
        alias.asname or alias.name: _place(one.module, alias.name)
        for one in ast.walk(tree)
        if isinstance(one, ast.ImportFrom) and one.module and one.module.startswith("nilometer")
        for alias in one.names
    }


def _place(module: str, name: str) -> Node:
    """Where a name of the public face is defined; any other as it is written."""
    if module == "nilometer" and (found := getattr(nilometer, name, None)) and hasattr(found, "__qualname__"):
        return found.__module__, found.__qualname__
    return module, name


def _function(made: Graph, tree: ast.AST, module: str, known: Mapping[str, Node]) -> Function:
    found = Function()
    for one in ast.walk(tree):
        match one:
            case ast.Name(id=name) if name in known:
                found.names.add(known[name])
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in known:
                above, last = known[name]
                found.names |= {(f"{above}.{last}", attribute), (above, f"{last}.{attribute}")}
                found.methods.add(attribute)
            case ast.Attribute(attr=attribute):
                found.methods.add(attribute)
            case ast.Constant(value=str(place)) if _DEED.fullmatch(place):
                inner, _, name = place.partition(":")
                found.names.add((f"nilometer.domain.{inner}", name))
        found.uses |= set(_asked(one, module))
        if made.of_commands:
            found.uses |= set(_asked_by_commands(one, module))
    return found


def _asked(one: ast.AST, module: str) -> Iterator[Use]:
    match one:
        case ast.Call(func=ast.Attribute(attr=method), args=[first, *_]) if method in _STORE and (
            table := _table(first)
        ):
            yield Use(_STORE[method], table)
        case ast.Call(func=ast.Attribute(attr="query_index")):
            yield Use("dynamodb:Query", "index")
        case ast.Call(func=ast.Attribute(attr="query_list")):
            yield Use("dynamodb:Query", "lists")
        case ast.Call(func=ast.Name(id=name), keywords=keywords) if name in _WRITES:
            yield from (Use(_WRITES[name], t) for k in keywords if k.arg == "table" and (t := _table(k.value)))
        case ast.Attribute(value=value, attr=method) if use := _SERVICES.get((_last(value), method)):
            yield use
    if module.startswith("nilometer.lake"):
        match one:
            case ast.Attribute(attr=name) | ast.Call(func=ast.Name(id=name)) if name in _DELTA:
                yield from _DELTA[name]


def _asked_by_commands(one: ast.AST, module: str) -> Iterator[Use]:
    match one:
        case (
            ast.Attribute(attr=method)
            | ast.Call(func=ast.Attribute(attr="get_paginator"), args=[ast.Constant(value=method)])
        ) if action := OF_COMMANDS.get(str(method)):
            yield Use(action, "")
        case ast.Call(func=ast.Attribute(attr=method), args=[ast.Name(id="table"), *_]) if (
            method in _STORE and module.startswith("nilometer.flows.recovery")
        ):
            yield from (Use(_STORE[method], table) for table in ("records", "events"))


def _table(value: ast.expr) -> str:
    """`records` of `Table.RECORDS`."""
    match value:
        case ast.Attribute(value=ast.Name(id="Table"), attr=name):
            return name.lower()
    return ""


def _last(value: ast.expr) -> str:
    match value:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.removeprefix("_")
    return ""
