"""EventBridge of MiniStack: what a rule asks of source and type is answered once for each source and type.

And no event is kept once it is delivered: MiniStack has a list of all, which nothing reads.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ministack.services import eventbridge  # type: ignore[import-untyped]  # it has no types

# MiniStack's functions have no public names.
# ruff: noqa: SLF001

_ASKED = frozenset({"source", "detail-type"})
_MOST = 10_000  # answers that are remembered


class Envelopes:
    """Answers of `_matches_detail` by a pattern's part outside of `detail`, which must ask of `_ASKED` alone."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Any, Any], tuple[Any, bool]] = {}

    def pass_(self, alternative: dict[str, Any], fields: dict[str, Any]) -> bool:
        """Whether the event's `fields` match the pattern without its `detail`. The pattern is kept, so that its
        identity stays its own."""
        key = (id(alternative), fields["source"], fields["detail-type"])
        found = self._known.get(key)
        if found is None:
            rest = {name: wanted for name, wanted in alternative.items() if name != "detail"}
            found = (alternative, eventbridge._matches_detail(fields, rest))
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = found
        return found[1]


def use() -> None:
    """Rules are matched so from now on."""
    nowhere: deque[Any] = deque(maxlen=0)
    eventbridge._events_log_list = lambda: nowhere
    whole, envelopes = eventbridge._matches_alternative, Envelopes()

    def matching(view: Any, alternative: dict[str, Any]) -> bool:
        asked = alternative.keys() - {"detail"}
        told = all(isinstance(view.envelope()[name], str) for name in _ASKED)
        if not told or not asked or not asked <= _ASKED:
            return bool(whole(view, alternative))
        if not envelopes.pass_(alternative, view.envelope()):
            return False
        if "detail" not in alternative:
            return True
        detail = {"detail": alternative["detail"]}
        return bool(eventbridge._matches_detail(view.event_with_detail(), detail))

    eventbridge._matches_alternative = matching
