"""The generated files of our dbt project: a model a metric, one for each table expression that metrics have in common,
and the tables as sources with what each column means.

`python -m nilometer.lake.warehouse.project dbt` rewrites them; a test checks that they are current.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from nilometer.domain.lake.books import BOOKS
from nilometer.lake.metrics.metrics import METRICS, Metric

_PERIOD = {name: f"{{{{ {name}() }}}}" for name in ("known", "since", "until", "days", "months", "account")}
_TABLE = re.compile(r"\b([a-z_]+_history)\b")
_EXPRESSION = re.compile(r"^    (\w+) as \(", re.MULTILINE)
_READ = re.compile(r"\b(from|join) (\w+)\b( as \w+)?")
_HEADER = "-- {} Rules: docs/metrics.md. Generated.\n"

Expressions = Mapping[str, str]
"""SQL by the name of a common table expression, each after those that it reads."""


def project_files() -> Mapping[str, str]:
    """Text by path below the project."""
    shared = _shared()
    parts = {f"models/parts/{name}.sql": _part(name, sql, shared) for name, sql in shared.items()}
    models = {f"models/{metric.name}.sql": _model(metric, shared) for metric in METRICS.values()}
    return {**parts, **models, "models/sources.yml": _yaml(_sources()), "models/metrics.yml": _yaml(_metrics())}


def _shared() -> Expressions:
    """What metrics have in common, word for word, and that reads nothing else of a metric."""
    metrics = [_expressions(metric) for metric in METRICS.values()]
    named = Counter(name for metric in metrics for name in metric)
    written = Counter(expression for metric in metrics for expression in metric.items())
    found: dict[str, str] = {}
    for metric in metrics:
        for name, sql in metric.items():
            if 1 < written[name, sql] == named[name] and _reads(sql) & metric.keys() <= found.keys():
                found[name] = sql
    return found


def _expressions(metric: Metric) -> Expressions:
    text = metric.parts.format(workspace="true", **_PERIOD).rstrip()
    _, *pieces = _EXPRESSION.split(text)
    return {
        name: sql.strip().removesuffix(",").removesuffix(")") for name, sql in zip(*[iter(pieces)] * 2, strict=True)
    }


def _reads(sql: str) -> set[str]:
    return {name for _, name, _ in _READ.findall(sql)}


def _part(name: str, sql: str, shared: Expressions) -> str:
    return f"{_HEADER.format(f'The table expression {name}, which metrics have in common.')}{_referring(sql, shared)}\n"


def _model(metric: Metric, shared: Expressions) -> str:
    own = ((name, sql) for name, sql in _expressions(metric).items() if name not in shared)
    parts = ",\n".join(f"    {name} as ({sql})" for name, sql in own)
    select = metric.select.strip().format(workspace="true", **_PERIOD)
    unordered = re.sub(r"\s+order by [^()]*\Z", "", select)  # a table has no order
    whole = f"with\n{parts}\n{unordered}" if parts else unordered
    return f"{_HEADER.format(metric.question)}{_referring(whole, shared)}\n"


def _referring(sql: str, shared: Expressions) -> str:
    """With sources and models in place of their names."""
    tables = _TABLE.sub(lambda found: f"{{{{ source('nilometer', '{found[1]}') }}}}", sql)

    def model(found: re.Match[str]) -> str:
        name = found[2]
        return f"{found[1]} {{{{ ref('{name}') }}}}{found[3] or f' as {name}'}" if name in shared else found[0]

    return _READ.sub(model, tables)


def _sources() -> dict[str, object]:
    tables = [
        {
            "name": table.name,
            "description": table.meaning,
            "columns": [{"name": column.name, "description": column.meaning} for column in table.columns],
        }
        for table in BOOKS.values()
    ]
    return {"sources": [{"name": "nilometer", "schema": "{{ var('nilometer_schema') }}", "tables": tables}]}


def _metrics() -> dict[str, object]:
    return {"models": [_described(metric) for metric in METRICS.values()]}


def _described(metric: Metric) -> dict[str, object]:
    columns = [
        {"name": name, "data_tests": ["not_null"]} if name in (*metric.keys, "currency") else {"name": name}
        for name in metric.columns
    ]
    return {"name": metric.name, "description": metric.question, "columns": columns}


def _yaml(content: Mapping[str, object]) -> str:
    return "\n".join(("# Generated.", "version: 2", *_lines(content, ""))) + "\n"


def _lines(value: object, indent: str) -> Iterator[str]:
    """YAML of mappings, lists and texts; a text is a JSON string, which YAML reads."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, str):
                yield f"{indent}{name}: {msgspec.json.encode(inner).decode()}"
            else:
                yield f"{indent}{name}:"
                yield from _lines(inner, f"{indent}  ")
    elif isinstance(value, list):
        for one in value:
            first, *rest = [one] if isinstance(one, str) else _lines(one, "")
            yield f"{indent}- {first}"
            yield from (f"{indent}  {line}" for line in rest)


def main() -> None:
    """Rewrites them below the folder that is named."""
    for name, text in project_files().items():
        path = Path(sys.argv[1]) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
