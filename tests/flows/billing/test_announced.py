"""A changed billing record is announced on the bus, beside the change itself."""

from __future__ import annotations

from tests.support.acts import act
from tests.support.flows.changes import World, record
from tests.support.flows.operations import NOW

from nilometer.domain.billing.record.fold import record_item
from nilometer.domain.billing.record.inputs import Inputs, with_views
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.limits.own_deeds import GrantLimit
from nilometer.domain.store.keys import billing


def item(status: str, version: int) -> dict[str, object]:
    view = {"object": "subscription", "status": status, "created": 1, "items": [], "version": 1}
    inputs = with_views(Inputs(), "self/test/cus_1", {"sub_1": view})
    return dict(record_item(billing("ws"), inputs, workspace_id="ws", version=version, cause="evt_1", updated_at="now"))


def test_lost_access_is_announced(world: World) -> None:
    """With what was, what is, the workspace as subject and Stripe's event as cause; the same id each time."""
    results = world.relay(record(item("canceled", 8), item("active", 7)))

    told = {event["detail"]["type"]: event["detail"] for event in world.bodies("bus")}
    assert [result.outcome for result in results] == [Outcome.ACCEPTED]
    assert set(told) == {"record.changed.v1", "billing.subscription_changed.v1", "billing.access_changed.v1"}
    access = told["billing.access_changed.v1"]
    assert (access["id"], access["subject"]) == ("ws:8:billing.access_changed.v1", "ws")
    assert access["data"] == {
        "workspace_id": "ws",
        "cause": "evt_1",
        "before": {"access": "full"},
        "after": {"access": "none"},
    }


def test_own_limits_are_announced_like_the_plan_s(world: World) -> None:
    """Under an id that no version of the billing record has."""
    [put] = GrantLimit(meter="calls", grant="g", amount="5").decide(act(now=NOW), {})
    assert put
    world.relay(record(put.item, None))

    told = {event["detail"]["type"]: event["detail"] for event in world.bodies("bus")}
    assert set(told) == {"record.changed.v1", "billing.limits_changed.v1"}
    changed = told["billing.limits_changed.v1"]
    assert (changed["id"], changed["subject"]) == ("own:ws:1:billing.limits_changed.v1", "ws")
    assert changed["data"]["after"] == {"own_limits": {"calls/g": {"amount": 5}}}
