"""Every row of the audit as a step: allowed by the domain, and beginning where the row before it ended.

Streams: the rows in the order of their records, one at a time. A record whose history is older than the audit begins
with the first row that is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby
from typing import Any

import msgspec

from nilometer.aws.s3 import Objects
from nilometer.domain.lake import exact
from nilometer.domain.lake.change import ItemAction
from nilometer.domain.lake.redaction import id_text
from nilometer.domain.recovery.step_rules import AuditStep
from nilometer.domain.recovery.steps import WrongStep, wrong_order, wrong_steps
from nilometer.domain.recovery.verification import ComparedEntry, Difference, DifferenceKind
from nilometer.domain.store.copies import is_copy
from nilometer.domain.store.times import rfc3339
from nilometer.errors import Rejected
from nilometer.lake.read.ledger import Ledger

_GONE = "copy payloads/ of the bucket of before, if there is one (docs/restore.md)"


def judged_steps(ledger: Ledger, objects: Objects) -> Iterator[ComparedEntry | Difference]:
    """(pk, sk, change_id) of each row that is allowed, and a `Difference` for each rule that a row breaks."""
    voids = frozenset(map(id_text, ledger.void_ids()))
    for _, rows in groupby(ledger.steps(), key=lambda row: (row["pk"], row["sk"])):
        before: AuditStep | None = None
        for row in rows:
            try:
                step = _step(row, objects)
            except Rejected as error:
                yield from _judged(row, [WrongStep(rule="images", what=str(error), advice=_GONE)])
                before = None
                continue
            found = [] if _is_copy(step) else [*wrong_steps(step, is_void=voids.__contains__)]
            found += wrong_order(before.new, step) if before and not _is_copy(step) else ()
            yield from _judged(row, found)
            before = step


def _is_copy(step: AuditStep) -> bool:
    """Whether a restore brought the record, as it was at a time: no step, and the begin of those that follow."""
    return step.action is ItemAction.INSERT and step.new is not None and is_copy(step.new, step.occurred_at)


def _judged(row: dict[str, Any], found: list[WrongStep]) -> Iterator[ComparedEntry | Difference]:
    key, at = (row["pk"], row["sk"], row["change_id"]), rfc3339(row["occurred_at"])
    if not found:
        yield ComparedEntry(key, None, at)
    for wrong in found:
        yield Difference(
            kind=DifferenceKind.WRONG_STEP,
            key=key,
            lake=f"{wrong.what}; {wrong.advice}",
            fields=(wrong.rule,),
            changed_at=at,
        )


def _step(row: dict[str, Any], objects: Objects) -> AuditStep:
    images = _images(row["images_ref"], objects) if row["images_ref"] else row
    return AuditStep(
        pk=row["pk"],
        sk=row["sk"],
        kind=row["kind"],
        action=ItemAction(row["action"]),
        old=_image(images["old_image"]),
        new=_image(images["new_image"]),
        cause=row["cause"],
        changed_fields=tuple(json.loads(row["changed_fields"])),
        occurred_at=row["occurred_at"],
    )


def _images(reference: str, objects: Objects) -> dict[str, str]:
    """Of a change that was too large for a row."""
    found = msgspec.json.decode(objects.get(reference), type=dict[str, msgspec.Raw])
    return {name: bytes(image).decode() for name, image in found.items()}


def _image(text: str | None) -> dict[str, Any] | None:
    found = json.loads(text or "null", parse_float=Decimal)
    return exact.read(found) if found is not None else None
