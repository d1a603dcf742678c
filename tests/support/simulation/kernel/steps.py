"""The laws of every change: it is a step that `nilometer verify --steps` allows, and nothing expires at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.support.simulation.kernel.world import LawBroken
from tests.support.simulation.services.dynamodb import SimTables, StreamChange

from nilometer.aws.items import unmarshal
from nilometer.domain.lake.change import ItemAction, changed_fields
from nilometer.domain.recovery.step_rules import AuditStep
from nilometer.domain.recovery.steps import wrong_steps
from nilometer.domain.store.writes import Table

PUT_AGAIN = frozenset({"reject", "waiting_day", "stripe_event"})
"""Facts that may be put again a moment later; of others than records only what changes one is judged."""
REMEMBERED = 20_000
_ALLOWED: set[Any] = set()


class StepLaw:
    """Reads the changes that came since it was asked last, or since the setup."""

    def __init__(self, tables: SimTables) -> None:
        self.tables = tables
        self.read = self.began = 0

    def begin(self) -> None:
        """What a setup wrote by hand is not judged."""
        self.began = self.read = len(self.tables.stream)

    def check(self) -> None:
        """The same changes come in many schedules: each is judged once."""
        stream = self.tables.stream
        for change in stream[min(self.read, len(stream)) :]:
            if change.seals not in _ALLOWED:
                self._judge(change)
        self.read = len(stream)

    def _judge(self, change: StreamChange) -> None:
        step = _step(change)
        if step.new and "expires_at" in step.new and int(step.new["expires_at"]) <= change.second:
            raise LawBroken(f"{step.pk} {step.sk} expires before it is read")
        if change.table == Table.EVENTS and (step.action is not ItemAction.MODIFY or step.kind in PUT_AGAIN):
            return
        wrong = next(wrong_steps(step, is_void=self._is_void), None)
        if wrong:
            raise LawBroken(f"{step.pk} {step.sk}: {wrong.rule}: {wrong.what}")
        if len(_ALLOWED) > REMEMBERED:
            _ALLOWED.clear()
        _ALLOWED.add(change.seals)

    def _is_void(self, cause: str) -> bool:
        facts = (item.values for item in self.tables.items[Table.EVENTS].values())
        return any("voids_id" in fact and fact.get("event_id") == {"S": cause} for fact in facts)


def _step(change: StreamChange) -> AuditStep:
    old, new = (unmarshal(image) if image else None for image in (change.old, change.new))
    item = new or old or {}
    gone = ItemAction.EXPIRED if change.expired else ItemAction.REMOVE
    return AuditStep(
        pk=change.key[0],
        sk=change.key[1],
        kind=str(item.get("kind")),
        action=ItemAction.INSERT if old is None else gone if new is None else ItemAction.MODIFY,
        old=old,
        new=new,
        cause=item.get("cause"),
        changed_fields=tuple(changed_fields(old, new)),
        occurred_at=datetime.fromtimestamp(change.second, UTC),
    )
