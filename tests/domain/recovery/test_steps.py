"""A row of the audit is a step that the domain allows, or the rule that it breaks is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.support.simulation.days.company import day
from tests.support.simulation.services.streams import record

from nilometer.domain.lake import exact
from nilometer.domain.lake.change import ItemAction, audit_row, changed_fields
from nilometer.domain.recovery.step_rules import AuditStep
from nilometer.domain.recovery.steps import wrong_order, wrong_steps
from nilometer.domain.store.writes import Table
from nilometer.flows.lake.stream import change_of

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
Image = dict[str, Any]


def step(old: Image | None, new: Image | None, *, action: ItemAction | None = None, **changed: Any) -> AuditStep:
    image = new or old or {}
    usual = ItemAction.INSERT if old is None else ItemAction.REMOVE if new is None else ItemAction.MODIFY
    found = AuditStep(
        pk=image["pk"],
        sk=image["sk"],
        kind=image["kind"],
        action=action or usual,
        old=old,
        new=new,
        cause=image.get("cause"),
        changed_fields=tuple(changed_fields(old, new)),
        occurred_at=AT,
    )
    return replace(found, **changed)


def rules(one: AuditStep, *, is_void: bool = False) -> list[str]:
    return [wrong.rule for wrong in wrong_steps(one, is_void=lambda _: is_void)]


def audited(seed: int) -> Iterator[AuditStep]:
    """The records' changes of a simulated day, as the relay writes them and `verify` reads them."""
    for change in day(seed).plant.tables.stream:
        if change.table == Table.RECORDS:
            row = json.loads(json.dumps(audit_row(change_of(record(change))), default=float), parse_float=Decimal)
            yield AuditStep(
                **{name: row[name] for name in ("pk", "sk", "kind", "cause")},
                action=ItemAction(row["action"]),
                old=exact.read(row["old_image"]) if row["old_image"] else None,
                new=exact.read(row["new_image"]) if row["new_image"] else None,
                changed_fields=tuple(row["changed_fields"]),
                occurred_at=datetime.fromtimestamp(row["created"], UTC),
            )


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_a_whole_day_is_allowed(seed: int) -> None:
    """Billing, usage with voids, limits, people under faults: no row of its audit breaks a rule, redacted as it is."""
    last: dict[tuple[str, str], AuditStep] = {}
    steps = list(audited(seed))
    for one in steps:
        before = last.get((one.pk, one.sk))
        assert not list(wrong_steps(one, is_void=lambda cause: cause.startswith("v"))), one
        assert before is None or not list(wrong_order(before.new, one)), one
        last[one.pk, one.sk] = one

    assert len(steps) > 60
    assert {"counter", "register", "reservation", "allowance"} <= {one.kind for one in steps}


def item(kind: str, **attributes: Any) -> Image:
    return {"pk": "WORKSPACE#a", "sk": kind.upper(), "kind": kind, "version": 3, "workspace_id": "a"} | attributes


def then(old: Image, **changed: Any) -> Image:
    return {**old, "version": old["version"] + 1, **changed}


MEMBER = item("membership", user_id="u", role="Admin", status="active", stamp="2026-11-02", sessions_after="2026-11-01")
INVITED = item(
    "invitation", invitation_id="i", status="pending", user_id=None, token_hash="[redacted]", email="[redacted]"
)
TOKEN = item("token", user_id="u", purpose="password_reset", created_at="2026-11-01", used_at=None, expires_at=9)
HELD = item("reservation", reservation_id="r", meter="m", quantity=Decimal(4), status="open", ends_at="2026-11-24")
COUNTER = item("counter", meter="m", scope="period", shard=0, total=Decimal(9), count=4, max=Decimal(5), unique=2)
LATEST = then(COUNTER, latest_at="2026-11-03 s e")
OUTBOX = item("metered", meter="m", sent=Decimal(3), number=1)
PENDING = then(OUTBOX, number=2, pending={"identifier": "x", "value": Decimal(4)})
UNREAD = {**PENDING, "pending": {"identifier": "x", "value": "[redacted]"}}
REFUSED = then(OUTBOX, refused={"y": {"value": Decimal(2), "code": "archived_meter"}})
WORKSPACE = item("workspace", admins=1, field_times={"name": "2026-11-02"})
LIMITS = item("limits", own_limits={"m": 1})
ELEMENT = [1_795_000_000, "abcdef0123", 1, 0, "p1", None]
REGISTER = item(
    "register", account="self", livemode=False, evidence={"e": [ELEMENT], "i": [["evt", "t"]], "s": {"p1": {}}, "p": []}
)
NEWER = {"e": [[1_795_000_009, "bbcdef0123", 1, 0, "p2", None]], "i": [["evt2", "t"]], "s": {"p2": {}}, "p": []}
FETCHED = {"e": [[1_795_000_009, "bbcdef0123", -1, 0, "p2", None]], "i": [["x", "refetch"]], "s": {"p2": {}}, "p": []}

WRONG: list[tuple[str, AuditStep]] = [
    ("version", step(LIMITS, then(LIMITS, version=3, own_limits={"m": 2}))),
    ("version", step(LIMITS, then(LIMITS, version=5, own_limits={"m": 2}))),
    ("images", step(LIMITS, then(LIMITS, pk="WORKSPACE#b"), pk="WORKSPACE#a")),
    ("images", step(LIMITS, then(LIMITS), action=ItemAction.INSERT)),
    ("images", step(LIMITS, None, action=ItemAction.MODIFY)),
    ("expiry", step({**TOKEN, "expires_at": 2_000_000_000}, None, action=ItemAction.EXPIRED)),
    ("expiry", step(LIMITS, None, action=ItemAction.EXPIRED)),
    ("removal", step(COUNTER, None)),
    ("removal", step(TOKEN, None)),
    ("written once", step(item("security"), then(item("security"), reason="x"))),
    ("written once", step(item("alert"), then(item("alert"), used=1))),
    ("changed fields", step(LIMITS, then(LIMITS, own_limits={"m": 2}), changed_fields=("version",))),
    ("changed fields", step(LIMITS, then(LIMITS), changed_fields=("own_limits", "version"))),
    ("field times", step(WORKSPACE, then(WORKSPACE, field_times={"name": "2026-11-01"}))),
    ("fixed", step(HELD, then(HELD, status="released", quantity=Decimal(5)))),
    ("fixed", step(COUNTER, then(COUNTER, meter="n"))),
    ("fixed", step(INVITED, then(INVITED), changed_fields=("email", "token_hash", "version"))),
    ("fixed", step(TOKEN, then(TOKEN, used_at="2026-11-02", user_id="v"))),
    ("state", step({**MEMBER, "status": "removed"}, then(MEMBER, status="removed", role="Viewer"))),
    ("state", step(None, {**MEMBER, "status": "removed"})),
    ("order", step(MEMBER, then(MEMBER, stamp="2026-11-01"))),
    ("order", step(MEMBER, then(MEMBER, sessions_after="2026-10-01"))),
    ("state", step({**INVITED, "status": "revoked"}, then(INVITED, status="accepted", user_id="u"))),
    ("state", step(INVITED, then(INVITED, status="accepted"))),
    ("state", step(INVITED, then(INVITED, status="revoked", user_id="u"))),
    ("token", step(INVITED, then(INVITED, valid_until="2026-12-01"))),
    ("state", step({**TOKEN, "used_at": "2026-11-02"}, then(TOKEN, used_at="2026-11-03"))),
    ("state", step({**TOKEN, "used_at": "2026-11-02"}, then(TOKEN, used_at=None))),
    ("state", step({**HELD, "status": "settled"}, then(HELD, status="open"))),
    ("state", step({**HELD, "status": "expired"}, then(HELD, status="released"))),
    ("state", step(None, {**HELD, "status": "settled"})),
    ("state", step(None, {**HELD, "updated_at": "2026-11-25"})),
    ("reserved", step(item("allowance", reserved=1), then(item("allowance"), reserved=-1))),
    ("counter", step(COUNTER, then(COUNTER, total=Decimal(8), count=5))),
    ("counter", step(COUNTER, then(COUNTER, count=3))),
    ("counter", step(COUNTER, then(COUNTER, max=Decimal(4)))),
    ("counter", step(COUNTER, then(COUNTER, unique=1))),
    ("order", step(LATEST, then(LATEST, latest_at="2026-11-02 s e"))),
    ("outbox", step(OUTBOX, then(OUTBOX, sent=Decimal(5)))),
    ("outbox", step(PENDING, {**then(OUTBOX), "version": 5, "number": 2, "sent": Decimal(9)})),
    ("outbox", step(OUTBOX, then(OUTBOX, number=2))),
    ("outbox", step(OUTBOX, then(OUTBOX, number=2, cause="moved e1"))),
    ("outbox", step(PENDING, then(PENDING, sent=Decimal(1), cause="moved e1"))),
    ("outbox", step(PENDING, then(PENDING, pending={"identifier": "x", "value": Decimal(5)}))),
    ("outbox", step(UNREAD, then(PENDING, pending={"identifier": "z", "value": Decimal(4)}))),
    ("outbox", step(REFUSED, then(REFUSED, sent=Decimal(1)))),
    ("outbox", step(REFUSED, then(REFUSED, refused={}, sent=Decimal(0)))),
    ("admins", step(WORKSPACE, then(WORKSPACE, admins=0))),
    ("admins", step(WORKSPACE, then(WORKSPACE, admins=3))),
    ("register", step({**REGISTER, "evidence": NEWER}, then(REGISTER))),
]
RIGHT: list[AuditStep] = [
    step(MEMBER, then(MEMBER, status="removed", sessions_after="2026-11-03")),
    step({**MEMBER, "status": "removed"}, then(MEMBER, status="removed", stamp="2026-11-04")),
    step(INVITED, then(INVITED), changed_fields=("token_hash", "version")),
    step(INVITED, then(INVITED, status="accepted", user_id="u")),
    step(TOKEN, then(TOKEN, used_at="2026-11-02")),
    step({**TOKEN, "expires_at": 1_000_000_000}, None, action=ItemAction.EXPIRED),
    step(HELD, then(HELD, status="settled")),
    step(COUNTER, then(COUNTER, total=Decimal(1), max=Decimal(1), count=1, cause="recount")),
    step(COUNTER, then(COUNTER, total=Decimal(1), count=3, cause="moved e1")),
    step(OUTBOX, PENDING),
    step(OUTBOX, then(OUTBOX, sent=Decimal(1), cause="moved e1")),
    step(PENDING, then(PENDING, sent=Decimal(8), cause="moved e1")),
    step(PENDING, {**then(OUTBOX), "version": 5, "number": 2, "sent": Decimal(7)}),
    step(UNREAD, {**then(OUTBOX), "version": 5, "number": 2, "sent": Decimal(7)}),
    step(UNREAD, then(PENDING)),
    step({**OUTBOX, "number": "[redacted]"}, {**PENDING, "number": "[redacted]"}),
    step(OUTBOX, REFUSED),
    step(REFUSED, then(REFUSED, refused={})),
    step(REFUSED, then(REFUSED, refused={}, sent=Decimal(1), changed=True)),
    step(WORKSPACE, then(WORKSPACE, admins=2)),
    step(item("slug"), None),
    step(REGISTER, then(REGISTER, evidence={"e": [*NEWER["e"], ELEMENT], "i": NEWER["i"], "s": NEWER["s"], "p": []})),  # type: ignore[misc]
    step(REGISTER, then(REGISTER, evidence=FETCHED)),
]


@pytest.mark.parametrize(("rule", "wrong"), WRONG, ids=[f"{n} {rule}" for n, (rule, _) in enumerate(WRONG)])
def test_a_planted_wrong_step_is_found(rule: str, wrong: AuditStep) -> None:
    """Its rule is named, in a sentence, with what to do about this very record."""
    found = list(wrong_steps(wrong, is_void=lambda _: False))

    assert rule in [one.rule for one in found]
    assert all(one.what and f"{wrong.pk}/{wrong.sk}" in one.advice for one in found)


@pytest.mark.parametrize("right", RIGHT, ids=lambda one: one.kind)
def test_an_allowed_step_is_passed_over(right: AuditStep) -> None:
    """What people and flows do every day."""
    assert rules(right) == []


def test_a_void_takes_back_and_nothing_else_does() -> None:
    """The cause of the row decides: it is the id of a void, or it is not."""
    down = step(COUNTER, then(COUNTER, total=Decimal(2), count=3, cause="v1"))

    assert rules(down, is_void=True) == []
    assert rules(down) == ["counter", "counter"]


def test_a_row_begins_where_the_one_before_it_ended() -> None:
    """A row that is missing between two, or a second beginning, is found."""
    one, two = LIMITS, then(LIMITS, own_limits={"m": 2})

    assert not list(wrong_order(one, step(one, two)))
    assert not list(wrong_order(None, step(None, one)))
    assert [wrong.rule for wrong in wrong_order(one, step(two, then(two)))] == ["chain"]
    assert [wrong.rule for wrong in wrong_order(one, step(None, one))] == ["chain"]
    assert [wrong.rule for wrong in wrong_order(None, step(one, two))] == ["chain"]
