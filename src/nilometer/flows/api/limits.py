"""Check, reserve, lease, settle and release over HTTP. A check writes nothing; a reservation is two conditional writes.

What if the answer is lost? The reservation's id is the client's: the same request is the same answer. What if a client
settles twice? The usage event has the reservation's id and counts once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec

from nilometer.domain.access.scopes import LIMIT_USE
from nilometer.domain.acts.roles import Permission
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.usage.event import parse_quantity, workspace_source
from nilometer.domain.usage.meter import Meter
from nilometer.errors import Rejected
from nilometer.flows.api.intake.events import SENDER
from nilometer.flows.api.route import ApiCall, ApiRoute
from nilometer.flows.api.shapes import BlockAnswer, CheckAnswer, ReleaseAnswer, ReserveAnswer, SettleAnswer
from nilometer.flows.limits.leasing import take
from nilometer.flows.limits.reserving import release, reserve
from nilometer.flows.limits.thresholds import check
from nilometer.flows.publish.usage import publish, recorded

_Quantity = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,15}(\.[0-9]{1,9})?$", description="A decimal, as text")]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Seconds = Annotated[int, msgspec.Meta(ge=1, le=86_400)]


class CheckBody(msgspec.Struct, forbid_unknown_fields=True):
    """How much more is wanted."""

    quantity: _Quantity = "1"


class ReserveBody(msgspec.Struct, forbid_unknown_fields=True):
    """`id` is the client's own; `leased` has no end until it is settled or released."""

    id: _Id
    quantity: _Quantity
    ttl_seconds: _Seconds = 300
    leased: bool = False


class LeaseBody(msgspec.Struct, forbid_unknown_fields=True):
    """A block of at least `quantity`, for a holder that gives out `rate` units a second. `id` is the client's own."""

    id: _Id
    quantity: _Quantity = "1"
    rate: _Quantity = "0"


class SettleBody(msgspec.Struct, forbid_unknown_fields=True):
    """How much of the reservation was used, and when: now, if it is not said. A repeated report has the same time."""

    id: _Id
    quantity: _Quantity
    time: datetime | None = None


class ReleaseBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which reservation is given back."""

    id: _Id


def _check(call: ApiCall) -> Any:
    quantity = parse_quantity(call.decoded(CheckBody).quantity)
    return check(call.means.known, call.where, call.request.path["meter"], quantity=quantity, now=call.now)


def _reserve(call: ApiCall) -> Any:
    asked = call.decoded(ReserveBody)
    return reserve(
        call.means.known,
        asked.id,
        workspace_id=call.where,
        meter=call.request.path["meter"],
        quantity=parse_quantity(asked.quantity),
        ttl=timedelta(seconds=asked.ttl_seconds),
        now=call.now,
        leased=asked.leased,
    )


def _lease(call: ApiCall) -> BlockAnswer:
    """The same id again is the same block."""
    asked, meter = call.decoded(LeaseBody), _meter(call)
    size = take(
        call.means.known,
        asked.id,
        workspace_id=call.where,
        meter=meter.slug,
        quantity=parse_quantity(asked.quantity),
        rate=parse_quantity(asked.rate),
        now=call.now,
    )
    return BlockAnswer(id=asked.id, size=size)


def _settle(call: ApiCall) -> Any:
    """One usage event with the reservation's id, durably queued."""
    asked, meter = call.decoded(SettleBody), _meter(call)
    event = recorded(
        asked.id,
        source=f"{workspace_source(call.where)}/reservations",
        workspace_id=call.where,
        meter=meter.slug,
        quantity=asked.quantity,
        unit=meter.unit,
        time=parse_rfc3339(asked.time.isoformat()) if asked.time else call.now,
        reservation_id=asked.id,
    )
    publish(call.means.bus, [event], sender=SENDER)
    return {"settled": True}


def _release(call: ApiCall) -> Any:
    asked = call.decoded(ReleaseBody)
    return {"released": release(call.means.known, asked.id, workspace_id=call.where, now=call.now)}


def _meter(call: ApiCall) -> Meter:
    slug = call.request.path["meter"]
    found = call.means.known.meters([slug]).get(slug)
    if found is None:
        raise Rejected("unknown_meter", f"there is no meter {slug[:80]!r}")
    return found


def _route(verb: str, scope: str, run: Any, body: type, answer: type, says: str) -> ApiRoute:
    path = f"/v1/workspaces/{{workspace_id}}/limits/{{meter}}/{verb}"
    name = f"{verb}_limit"
    return ApiRoute(method="POST", path=path, name=name, says=says, scope=scope, run=run, body=body, answer=answer)


ROUTES = (
    _route("check", Permission.LIMIT_VIEW, _check, CheckBody, CheckAnswer, "Whether so much more may be used"),
    _route("reserve", LIMIT_USE, _reserve, ReserveBody, ReserveAnswer, "Holds a part of a hard limit"),
    _route("lease", LIMIT_USE, _lease, LeaseBody, BlockAnswer, "Holds a block of a hard limit for one process"),
    _route("settle", LIMIT_USE, _settle, SettleBody, SettleAnswer, "Reports what was used of a reservation"),
    _route("release", LIMIT_USE, _release, ReleaseBody, ReleaseAnswer, "Gives a reservation back"),
)
