"""The generated parts of `docs/lake.md`: tables, recipes and definitions for other engines, from their declarations.

`python -m nilometer.lake.read.guide docs/lake.md` rewrites what stands between the markers; a test checks that it is
current.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.tables import DECIMAL_PRECISION, DECIMAL_SCALE, Column, DeltaTable, Type
from nilometer.lake.read.recipes import RECIPES

_SQL = {
    Type.STRING: "string",
    Type.JSON: "string (JSON)",
    Type.INT64: "bigint",
    Type.TIMESTAMP: "timestamp (UTC, microseconds)",
    Type.DATE: "date",
    Type.DECIMAL: f"decimal({DECIMAL_PRECISION}, {DECIMAL_SCALE})",
    Type.BOOL: "boolean",
    Type.DOUBLE: "double",
}

# Of a table, by engine. All of them read columns and partitions from the log.
DEFINITIONS = {
    "athena": "create external table nilometer.{name} location '{lake}/{name}/'"
    " tblproperties ('table_type' = 'DELTA');",
    "spark": "create table {name} using delta location '{lake}/{name}';",
    "trino": "call delta.system.register_table('nilometer', '{name}', '{lake}/{name}');",
}
_LAKE = "s3://<bucket>/lake"


def generated(text: str) -> str:
    """`text` with fresh content between `<!-- tables -->`, `<!-- recipes -->`, `<!-- athena -->`, `<!-- spark -->`,
    `<!-- trino -->` and `<!-- end -->`."""
    text = _between("tables", "\n".join(map(_table, ALL_TABLES.values())), text)
    text = _between("recipes", _recipes(), text)
    for engine, statement in DEFINITIONS.items():
        text = _between(engine, _sql_block(statement), text)
    return text


def _between(name: str, content: str, text: str) -> str:
    before, marker, rest = text.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{marker}{content}\n{end}{after}"


def _table(table: DeltaTable) -> str:
    head = f"### {table.name}\n\n{table.meaning} One row per ({', '.join(table.key)}).\n\n"
    rows = "".join(map(_row, table.columns))
    return f"{head}| column | type | null | meaning | source | example |\n|---|---|---|---|---|---|\n{rows}"


def _row(column: Column) -> str:
    since = f" (since step {column.version})" if column.version > 1 else ""
    cells = (
        f"`{column.name}`",
        _SQL[column.type],
        "yes" if column.nullable else "",
        column.meaning + since,
        column.source,
        f"`{column.example}`" if column.example else "",
    )
    return f"| {' | '.join(cells)} |\n"


def _recipes() -> str:
    rows = "".join(f"| `{recipe.name}` | {recipe.question} |\n" for recipe in RECIPES.values())
    return f"| recipe | answers |\n|---|---|\n{rows}"


def _sql_block(statement: str) -> str:
    lines = "".join(f"{statement.format(name=name, lake=_LAKE)}\n" for name in ALL_TABLES)
    return f"```sql\n{lines}```\n"


def main() -> None:
    """Rewrites the file that is named."""
    path = Path(sys.argv[1])
    path.write_text(generated(path.read_text()))


if __name__ == "__main__":
    main()
