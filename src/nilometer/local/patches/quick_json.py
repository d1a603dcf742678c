"""JSON by msgspec for MiniStack's services, for a tenth of the CPU; by `json` what msgspec refuses."""

from __future__ import annotations

import json
import math
from types import ModuleType
from typing import Any

import msgspec


class _Unwritable(float):
    """Not finite. msgspec would write null; of this class it writes nothing, so that `json` does."""


def _number(text: str) -> float:
    found = float(text)
    return found if math.isfinite(found) else _Unwritable(found)


_NUMBERS = {"parse_float": _number, "parse_constant": _number}
_SAME = frozenset({"ensure_ascii", "separators", "default"})


class QuickJson:
    """Stands for the module `json`. Objects are written without spaces and in UTF-8, as AWS does.

    Only what was read from JSON may be written: of bytes and sets, which `json` refuses, msgspec makes something.
    """

    JSONDecodeError = json.JSONDecodeError

    @staticmethod
    def loads(text: Any, **given: Any) -> Any:
        """As `json.loads`, errors too."""
        if not given:
            try:
                return msgspec.json.decode(text)
            except (msgspec.MsgspecError, UnicodeError, TypeError):
                pass
        return json.loads(text, **{**_NUMBERS, **given})

    @staticmethod
    def dumps(value: Any, **given: Any) -> str:
        """As `json.dumps`; text that people read, which is no object, keeps its spaces."""
        if isinstance(value, dict) and given.keys() <= _SAME:
            try:
                return msgspec.json.encode(value, enc_hook=given.get("default")).decode()
            except (msgspec.MsgspecError, UnicodeError, TypeError, RecursionError):
                pass
        return json.dumps(value, **given)


def use(*modules: ModuleType) -> None:
    """Their `json` is this one from now on."""
    for module in modules:
        module.json = QuickJson  # type: ignore[attr-defined]  # each imports it
