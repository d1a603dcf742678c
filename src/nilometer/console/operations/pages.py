"""The page of operations, its parts that take longer, and what an Admin does there."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from nilometer.console.http.guard import Form, action, visitor
from nilometer.console.http.rendering import back, page, section
from nilometer.console.http.visitor import Visitor
from nilometer.console.place import Place, Timer, place_of
from nilometer.domain.acts.roles import Permission
from nilometer.domain.recovery.dead_letter import Wanted, shown
from nilometer.domain.recovery.refused import FLOWS
from nilometer.domain.stripe.event import Scope
from nilometer.errors import Refused
from nilometer.flows.billing.coverage import coverage
from nilometer.flows.recovery import dead_letters
from nilometer.flows.recovery.dead_letters import LetterBox
from nilometer.flows.recovery.verify import CHECKS, Verification
from nilometer.lake.read.bounded import bounded_query

RECENT = timedelta(days=7)
GRACE = timedelta(seconds=120)
SHOWN = 100
_HAPPENED = """
select (select count(*) from stripe_events where event_date > current_date - $days::int),
       (select count(*) from usage where event_date > current_date - $days::int)
"""
_RATE = re.compile(r"[0-9]{1,12}/(second|minute|hour|day|month)")
_ELSEWHERE = "it takes longer than this console may; run it from your machine with --stack"


class LastLines(Protocol):
    """What knows when the functions last said something."""

    last_lines: Mapping[str, datetime]

    def refresh(self) -> None:
        """Reads on."""


def routes() -> list[BaseRoute]:
    """All below `/operations` and `/letters`."""
    return [
        Route("/operations", operations),
        Route("/operations/letters", letters),
        Route("/operations/letter", letter),
        Route("/operations/rejects", rejects),
        Route("/operations/schedules", schedules),
        Route("/operations/reconcile", reconcile),
        action("/operations/verify", verify),
        action("/operations/doctor", doctor),
        Route("/operations/cost", cost),
        action("/operations/bill", bill),
        action("/letters/redrive", redrive),
        action("/letters/purge", purge),
    ]


def reader(request: Request) -> Visitor:
    """Who looks, when the whole stack is theirs to see."""
    found = visitor(request)
    found.require(Permission.HISTORY_QUERY)
    if not found.sees_all:
        raise Refused("operations span all workspaces, and you see one")
    return found


def operations(request: Request) -> Response:
    """Queues and streams at this moment; the rest of the page loads by itself."""
    reader(request)
    told = place_of(request).status()
    lags = sorted((_logical(name), lag) for name, lag in told["streams"].items())
    stuck = sorted((_logical(name), count) for name, count in told["dead_letters"].items() if count)
    return page(request, "operations/operations.html", told=told, queues=_named(told), lags=lags, stuck=stuck)


def _named(status: Mapping[str, Any]) -> list[tuple[str, Mapping[str, int]]]:
    """By the names of the template, which stand between the stack's name and a hash."""
    return sorted((_logical(name), counts) for name, counts in status["queues"].items())


def _logical(name: str) -> str:
    parts = name.split("-")
    return parts[-2] if len(parts) > 2 else name


def letters(request: Request) -> Response:
    """Dead letters with their reasons, the oldest first. Looking hides them for a moment."""
    reader(request)
    place = place_of(request)
    boxes = place.boxes()
    found = dead_letters.look(boxes, Wanted(), reasons=place.reasons)
    movable = {box.name for box in boxes if box.is_movable}
    return section(
        request, "operations/letters.html", "Dead letters", letters=found[:SHOWN], total=len(found), movable=movable
    )


def letter(request: Request) -> Response:
    """One dead letter with its payload, redacted as in the lake; as it arrived for an Admin alone."""
    who, place = reader(request), place_of(request)
    found = dead_letters.find(place.boxes(), request.query_params.get("id", ""), reasons=place.reasons)
    if found is None:
        raise HTTPException(
            404, "no such letter is in a queue, or another process is reading it; try again in two minutes"
        )
    raw = found.body if who.operates else None
    return page(request, "operations/letter.html", letter=found, payload=shown(found.body), raw=raw)


def rejects(request: Request) -> Response:
    """What was refused for good in the last seven days, the newest first."""
    reader(request)
    place = place_of(request)
    found = place.lane().all(FLOWS, since=place.clock() - RECENT)
    return section(request, "operations/rejects.html", "Rejects", rejects=found[:SHOWN], total=len(found))


def schedules(request: Request) -> Response:
    """When each runs next, and when its function last said something."""
    reader(request)
    timeline: LastLines = request.app.state.timeline
    timeline.refresh()
    rows = [(timer, _last(timer, timeline)) for timer in place_of(request).timers()]
    return section(request, "operations/schedules.html", "Schedules", rows=rows)


def _last(timer: Timer, timeline: LastLines) -> datetime | None:
    return timer.last or timeline.last_lines.get(timer.function.removesuffix("Function").lower())


def reconcile(request: Request) -> Response:
    """When each type of Stripe's objects was compared last, as `nilometer reconcile status`."""
    reader(request)
    place = place_of(request)
    scopes = [Scope(livemode=live) for live in (True, False)]
    found = [(scope, coverage(place.store, scope)) for scope in scopes]
    known = [(scope, passes) for scope, passes in found if any(one.first_started_at for one in passes)]
    return section(request, "operations/reconcile.html", "Comparison with Stripe", known=known, now=place.clock())


def verify(request: Request, _form: Form) -> Response:
    """The lake folded beside the tables, as `nilometer verify`; reads the whole of both."""
    place = place_of(request)
    if place.checks is None:
        raise HTTPException(404, _ELSEWHERE)
    checks = Verification(store=place.store, ledger=place.ledger, objects=place.objects, now=place.clock(), grace=GRACE)
    return section(request, "operations/verified.html", "Verify", framed=True, reports=list(checks.run(CHECKS)))


def cost(request: Request) -> Response:
    """How much happened in the last seven days, as rates to count the bill of a month with."""
    reader(request)
    place = place_of(request)
    found = bounded_query(_HAPPENED, values={"days": RECENT.days}, **place.lake)
    stripe, usage = (math.ceil(count / RECENT.days) for count in found.rows[0])
    return section(
        request, "operations/cost.html", "Cost", stripe=f"{stripe}/day", usage=f"{usage}/day", days=RECENT.days
    )


def bill(request: Request, form: Form) -> Response:
    """As `nilometer cost --stripe ... --usage ...`."""
    count = place_of(request).bill
    if count is None:
        raise HTTPException(404, "it needs a stack to count on; run `nilometer cost` on your machine")
    rates = [form.get(name, "") for name in ("stripe", "usage")]
    if not all(map(_RATE.fullmatch, rates)):
        raise HTTPException(400, "a rate looks like 300/day; also per second, minute, hour, month")
    return section(request, "operations/bill.html", "The bill of a month", found=count(*rates), rates=rates)


def doctor(request: Request, _form: Form) -> Response:
    """As `nilometer doctor`."""
    look = place_of(request).checks
    if look is None:
        raise HTTPException(404, _ELSEWHERE)
    return section(request, "operations/checked.html", "Doctor", framed=True, found=list(look()))


def redrive(request: Request, form: Form) -> Response:
    """To the queue in which it failed."""
    box, letter_id = _box(place_of(request), form)
    if not box.is_movable:
        raise HTTPException(
            400, f"{box.name} has no queue to send its letters back to: invoke the function, then purge"
        )
    return _settled(request, dead_letters.send_back(box, frozenset({letter_id})), "sent back")


def purge(request: Request, form: Form) -> Response:
    """For good."""
    box, letter_id = _box(place_of(request), form)
    return _settled(request, dead_letters.delete(box, frozenset({letter_id})), "deleted")


def _box(place: Place, form: Form) -> tuple[LetterBox, str]:
    boxes: Sequence[LetterBox] = place.boxes()
    found = next((box for box in boxes if box.name == form.get("queue")), None)
    if found is None or not form.get("id"):
        raise HTTPException(400, "name a dead-letter queue and a letter in it")
    return found, form["id"]


def _settled(request: Request, moved: dead_letters.LettersMoved, done: str) -> Response:
    for why in moved.failed.values():
        raise HTTPException(409, f"it stays: {why}")
    if not moved.count:
        raise HTTPException(404, "it is not there any more, or another process is reading it; try again in two minutes")
    return back(request, "/operations", said=done)
