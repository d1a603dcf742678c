"""Whether a row of the audit is a step that the domain allows: from its old image, by its cause, to its new one.

Images are redacted, so a rule reads what redaction leaves: states, numbers, times, ids. Of an attribute that is hidden
`changed_fields` still says whether it changed, because the relay names the fields before it redacts them; of a token
the key keeps a digest. The rules of each kind are in `step_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nilometer.domain.lake.change import ItemAction, changed_fields
from nilometer.domain.lake.redaction import REDACTED
from nilometer.domain.recovery.step_rules import (
    FIXED,
    REMOVABLE,
    RULES,
    WRITTEN_AGAIN,
    WRITTEN_ONCE,
    AuditStep,
    Broken,
)
from nilometer.domain.recovery.verification import same
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Item

ADVICE = "find who wrote it (nilometer history show {kind} {pk}/{sk}), then correct the record by the library or a deed"
FORGED = "if the row itself is wrong and not the record, void it: nilometer history void"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongStep:
    """The rule that a row breaks, what is wrong in one sentence, and what to do."""

    rule: str
    what: str
    advice: str


def wrong_steps(step: AuditStep, *, is_void: Callable[[str], bool]) -> Iterator[WrongStep]:
    """What is wrong with one row; nothing when the domain allows it. `is_void` says whether a cause is a void."""
    advice = f"{ADVICE.format(kind=step.kind, pk=step.pk, sk=step.sk)}; {FORGED}"
    for rule, what in (*_of_every_kind(step), *RULES.get(step.kind, _nothing)(step, is_void)):
        yield WrongStep(rule=rule, what=what, advice=advice)


def wrong_order(before: Item | None, step: AuditStep) -> Iterator[WrongStep]:
    """Whether a row begins where the row before it, of the same record, ended. `before` is None after a removal."""
    if (before is None) is (step.old is None) and (before is None or same(step.old, before)):
        return
    differing = ", ".join(changed_fields(before, step.old)) or "nothing that is visible"
    yield WrongStep(
        rule="chain",
        what=f"its old image is not the new image of the row before it; they differ in {differing}",
        advice="a row is missing, or one of the two is not ours: nilometer verify origin, nilometer history show "
        f"{step.kind} {step.pk}/{step.sk}; replay the archive of that time when a row is missing",
    )


def _nothing(_step: AuditStep, _is_void: Callable[[str], bool]) -> Iterator[Broken]:
    yield from ()


def _of_every_kind(step: AuditStep) -> Iterator[Broken]:
    yield from _shape(step)
    if step.action is ItemAction.EXPIRED and not _is_over(step.old or {}, step.occurred_at):
        yield "expiry", "it was removed by its time to live before its expires_at"
    if step.action is ItemAction.REMOVE and step.kind not in REMOVABLE:
        yield "removal", f"nothing removes a {step.kind} but its time to live"
    if step.old is not None and step.new is not None:
        yield from _change(step, step.old, step.new)


def _shape(step: AuditStep) -> Iterator[Broken]:
    wanted = {
        ItemAction.INSERT: (False, True),
        ItemAction.MODIFY: (True, True),
        ItemAction.REMOVE: (True, False),
        ItemAction.EXPIRED: (True, False),
    }[step.action]
    if (step.old is not None, step.new is not None) != wanted:
        yield "images", f"an {step.action} has not these images"
    for image in (step.old, step.new):
        if image and (image["pk"], image["sk"], image.get("kind", "unknown")) != (step.pk, step.sk, step.kind):
            yield "images", "an image is of another record or of another kind"


def _is_over(item: Item, at: datetime) -> bool:
    return "expires_at" in item and int(item["expires_at"]) <= epoch(at)


def _change(step: AuditStep, old: Item, new: Item) -> Iterator[Broken]:
    if step.kind in WRITTEN_ONCE:
        yield "written once", f"a {step.kind} is written once and never changed"
    if "version" in new and step.kind not in WRITTEN_AGAIN and new["version"] != old.get("version", 0) + 1:
        yield "version", f"its version is {new['version']} after {old.get('version')}; each write adds one"
    for name in FIXED.get(step.kind, ()):
        if name in step.changed_fields or not same(old.get(name), new.get(name)):
            yield "fixed", f"{name} of a {step.kind} never changes"
    yield from _times(old, new)
    visible, told = set(changed_fields(old, new)), set(step.changed_fields)
    if lacking := visible - told:
        yield "changed fields", f"{', '.join(sorted(lacking))} changed and changed_fields does not say so"
    if invented := {name for name in told - visible if not _is_hidden(old.get(name)) or not _is_hidden(new.get(name))}:
        yield "changed fields", f"changed_fields names {', '.join(sorted(invented))}, which did not change"


def _times(old: Item, new: Item) -> Iterator[Broken]:
    """Of records whose fields are set by events that come late."""
    known: Mapping[str, str] = old.get("field_times", {})
    for name, time in (new.get("field_times") or {}).items():
        if not same(known.get(name, ""), time) and str(time) < str(known.get(name, "")):
            yield "field times", f"{name} was set by something older than what it knew"


def _is_hidden(value: Any) -> bool:
    """Whether redaction leaves something out of it."""
    match value:
        case Mapping():
            return any(map(_is_hidden, value.values()))
        case list():
            return any(map(_is_hidden, value))
        case str():
            return REDACTED in value or "~" in value
    return False
