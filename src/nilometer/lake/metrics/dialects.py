"""Differences between SQL dialects: JSON, times from one another, percentiles.

A recipe that needs one of them is written once, for a `Dialect`; all other SQL of recipes is common to the engines.

Sources: DuckDB's JSON functions; Trino's "JSON functions and operators", which Athena has; Spark SQL's built-in
functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one engine says it. Each text is a format: of JSON `{0}`, a path `{1}` in it, or names."""

    name: str
    text_form: str
    object_form: str
    value_form: str
    object_of_form: str
    keys_form: str
    moment_form: str
    seconds_form: str
    percentile_form: str

    def text(self, json: str, path: str) -> str:
        """The text, number or truth value at a fixed path, as text; null when there is none."""
        return self.text_form.format(json, path)

    def object(self, json: str, path: str) -> str:
        """The object at a fixed path, as JSON."""
        return self.object_form.format(json, path)

    def value(self, json: str, key: str) -> str:
        """The text, number or truth value of a key that a column says, as text."""
        return self.value_form.format(json, key)

    def object_of(self, json: str, key: str) -> str:
        """The object of a key that a column says, as JSON."""
        return self.object_of_form.format(json, key)

    def each_key(self, json: str, name: str) -> str:
        """Behind a table: one row for each key of the object, in the column `name`."""
        return self.keys_form.format(json, name)

    def moment(self, text: str) -> str:
        """The time of an RFC 3339 text."""
        return self.moment_form.format(text)

    def seconds(self, end: str, begin: str) -> str:
        """From one time to another, with fractions."""
        return self.seconds_form.format(end, begin)

    def percentile(self, value: str, share: float) -> str:
        """Of a number, as an aggregate."""
        return self.percentile_form.format(value, share)


DUCKDB: Final = Dialect(
    name="duckdb",
    text_form="json_extract_string({0}, '$.{1}')",
    object_form="json_extract({0}, '$.{1}')",
    value_form="""json_extract_string({0}, '$."' || {1} || '"')""",
    object_of_form="""json_extract({0}, '$."' || {1} || '"')""",
    keys_form="cross join unnest(json_keys({0})) as keys({1})",
    moment_form="cast({0} as timestamptz)",
    seconds_form="(epoch({0}) - epoch({1}))",
    percentile_form="quantile_cont({0}, {1})",
)
_TRINO_MAP = "cast(json_parse({0}) as map(varchar, json))"
TRINO: Final = Dialect(
    name="trino",
    text_form="json_extract_scalar({0}, '$.{1}')",
    object_form="json_format(json_extract({0}, '$.{1}'))",
    value_form=f"json_extract_scalar(json_format(element_at({_TRINO_MAP}, {{1}})), '$')",
    object_of_form=f"json_format(element_at({_TRINO_MAP}, {{1}}))",
    keys_form=f"cross join unnest(map_keys({_TRINO_MAP})) as keys({{1}})",
    moment_form="from_iso8601_timestamp({0})",
    seconds_form="(to_unixtime({0}) - to_unixtime({1}))",
    percentile_form="approx_percentile({0}, {1})",
)
SPARK: Final = Dialect(
    name="spark",
    text_form="get_json_object({0}, '$.{1}')",
    object_form="get_json_object({0}, '$.{1}')",
    value_form="get_json_object({0}, concat('$.', {1}))",
    object_of_form="get_json_object({0}, concat('$.', {1}))",
    keys_form="lateral view explode(json_object_keys({0})) keys as {1}",
    moment_form="cast({0} as timestamp)",
    seconds_form="((unix_micros({0}) - unix_micros({1})) / 1000000.0)",
    percentile_form="percentile({0}, {1})",
)
DIALECTS: Final = {"duckdb": DUCKDB, "athena": TRINO, "trino": TRINO, "spark": SPARK}
"""By the name of the engine."""
