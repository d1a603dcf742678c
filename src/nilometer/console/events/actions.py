"""What an Admin does about events: trigger a sample, send a reject again, dismiss it, replay usage."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from nilometer.console.http.guard import Form, action, visitor
from nilometer.console.http.rendering import back
from nilometer.console.place import place_of
from nilometer.domain.recovery.refused import FLOWS, KeptReject
from nilometer.flows.recovery.refused import LONGEST_KEPT, Lane, one_of
from nilometer.flows.recovery.replay import event_again


def routes() -> list[BaseRoute]:
    """All by POST."""
    return [
        action("/events/trigger", trigger),
        action("/events/replay", replay),
        action("/rejects/resend", resend),
        action("/rejects/dismiss", dismiss),
    ]


def trigger(request: Request, form: Form) -> Response:
    """Posts a signed sample event to the webhook, then shows its way."""
    place, wanted = place_of(request), form.get("type", "")
    if place.trigger is None:
        raise HTTPException(404, "samples are not sent from here; run `nilometer trigger` with --stack and your rights")
    if wanted not in place.event_types:
        raise HTTPException(400, f"there is no sample of {wanted or 'an event without type'}")
    event = place.trigger(wanted, form.get("workspace", "").strip() or None)
    return back(request, "/events", said=f"{event['type']} {event['id']} posted")


def replay(request: Request, form: Form) -> Response:
    """Publishes a usage event of the lake again. Its fact is known, so it counts once all the same."""
    place = place_of(request)
    rows = [
        row
        for row in place.ledger.usage_event(form.get("id", ""))
        if (row["source"], row["event_id"]) == (form.get("source"), form.get("id"))
    ]
    if not rows:
        raise HTTPException(404, "the lake has no usage event of this source and id")
    place.again(event_again(rows[0]))
    return back(request, "/events", said=f"{form['id']} published again")


def resend(request: Request, form: Form) -> Response:
    """Through the entrance that it came by; refused again it is listed again."""
    lane, one = _named(request, form)
    lane.resend(one, actor=f"console {visitor(request).name}")
    return back(request, "/operations", said=f"{one.flow} reject of {one.whose} resent")


def dismiss(request: Request, form: Form) -> Response:
    """Kept, and listed no more."""
    lane, one = _named(request, form)
    lane.dismiss(one, actor=f"console {visitor(request).name}")
    return back(request, "/operations", said=f"{one.flow} reject of {one.whose} dismissed")


def _named(request: Request, form: Form) -> tuple[Lane, KeptReject]:
    lane = place_of(request).lane()
    if not form.get("id"):
        raise HTTPException(400, "name a reject by its id")
    return lane, one_of(lane.all(FLOWS, since=lane.now - LONGEST_KEPT, settled=True), form["id"])
