"""TypeScript of what the API answers, from the same types as its description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nilometer.flows.api import shapes

_PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
_HEAD = "// Made by docs/generate.py from the API's types. Decimals are text, so that no digit is lost.\n"


def declarations() -> str:
    """An interface for every answer."""
    answers = [one for name, one in vars(shapes).items() if name.endswith("Answer")]
    _, found = msgspec.json.schema_components(answers, ref_template="{name}")
    return _HEAD + "".join(_interface(name, schema) for name, schema in sorted(found.items()))


def _interface(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    fields = (
        f"  {field}{'' if field in required else '?'}: {_type(one)};\n" for field, one in schema["properties"].items()
    )
    return f"\n/** {' '.join(schema['description'].split())} */\nexport interface {name} {{\n{''.join(fields)}}}\n"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"])
    if "anyOf" in schema:
        return _union(schema["anyOf"])
    kind = schema.get("type")
    if kind == "array":
        inner = _type(schema.get("items", {}))
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if kind == "object":
        more = schema.get("additionalProperties")
        return f"Record<string, {_type(more) if isinstance(more, Mapping) else 'unknown'}>"
    return _PLAIN.get(str(kind), "unknown")


def _union(schemas: Sequence[Mapping[str, Any]]) -> str:
    return " | ".join(dict.fromkeys(map(_type, schemas)))
