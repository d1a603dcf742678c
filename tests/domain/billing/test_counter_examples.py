"""Where naive rules break: each of STRIPE.md's counter-examples, by its number, in every order."""

from __future__ import annotations

from tests.support.events.stripe import created, event, in_any_order, items, merged, resolved, updated

from nilometer.domain.billing.group import view
from nilometer.domain.billing.record.fold import fold
from nilometer.domain.billing.record.inputs import Inputs, with_views
from nilometer.domain.stripe.registers.register import merge, of_answer, register
from nilometer.domain.stripe.registers.resolve import Rule, resolve

SUMMARY = "entitlements.active_entitlement_summary.updated"


def test_01_arrival_order() -> None:
    """updated(active, t=101), then created(incomplete, t=100): arrival decides nothing."""
    found = in_any_order(updated(101, {"status": "incomplete"}, status="active"), created(100, status="incomplete"))

    assert (found.state["status"], found.ambiguous) == ("active", False)


def test_02_strictly_newer() -> None:
    """created(incomplete) and updated(active) share a second: the edge says which is later."""
    found = in_any_order(created(100, status="incomplete"), updated(100, {"status": "incomplete"}, status="active"))

    assert (found.state["status"], found.ambiguous) == ("active", False)


def test_03_newer_or_equal() -> None:
    """The same two swapped, and created delivered again at the end."""
    first, second = created(100, status="incomplete"), updated(100, {"status": "incomplete"}, status="active")

    assert resolved([second, first, second, first]).state["status"] == "active"


def test_04_event_ids_do_not_order() -> None:
    """Ids that sort against the truth change nothing."""
    first, second = created(100, status="incomplete"), updated(100, {"status": "incomplete"}, status="active")

    assert first.id < second.id
    assert in_any_order(second, first).state["status"] == "active"


def test_05_type_rank_alone() -> None:
    """Two `updated` in one second, quantity 5 → 6 → 7, have one rank: the walk ends at 7."""
    found = in_any_order(
        updated(100, {"items": {"data": items(5)["data"]}}, status="active", items=items(6)),
        updated(100, {"items": {"data": items(6)["data"]}}, status="active", items=items(7)),
    )

    assert (found.state["items"][0]["quantity"], found.rule, found.ambiguous) == (7, Rule.WALK, False)


def test_06_one_watermark_per_workspace() -> None:
    """invoice.paid(t=20), then subscription.updated(t=10): objects do not share a guard."""
    subscription = merged(
        [created(5, status="active", items=items(1)), updated(10, {}, status="active", items=items(9))]
    )
    invoice = merged([event("invoice.paid", 20, status="paid")])
    views = {"subscription_1": view(subscription), "invoice_1": view(invoice)}

    assert fold(with_views(Inputs(), "self/test/cus_1", views))["seats"] == 9


def test_07_hard_delete() -> None:
    """product.deleted(t=10), then a late product.updated(t=5): the tombstone stays."""
    assert in_any_order(event("product.deleted", 10, name="A"), event("product.updated", 5, {}, name="B")).deleted


def test_08_deletion_behind_the_same_guard() -> None:
    """customer.updated and customer.deleted share a second."""
    assert in_any_order(event("customer.updated", 5, {}), event("customer.deleted", 5)).deleted


def test_09_children_without_the_parents_guard() -> None:
    """A stale created{si_0} after updated{si_0, si_1}: items are part of the subscription's snapshot."""
    found = in_any_order(
        updated(101, {"items": {"data": items(1)["data"]}}, items=items(1, 1)), created(100, items=items(1))
    )

    assert [item["id"] for item in found.state["items"]] == ["si_0", "si_1"]


def test_10_set_replaced_without_guard() -> None:
    """Entitlements {a, b} at t=20, then a stale {c} at t=10."""
    found = in_any_order(
        event(SUMMARY, 20, entitlements={"data": [{"lookup_key": "a"}, {"lookup_key": "b"}]}),
        event(SUMMARY, 10, entitlements={"data": [{"lookup_key": "c"}]}),
    )

    assert found.state["features"] == ["a", "b"]


def test_11_refetch_stamped_after_the_get() -> None:
    """Two workers fetch; the older answer arrives last. Stamps from before the request keep their order."""
    base = merged([created(100, status="incomplete")])
    older = of_answer(_subscription("past_due"), object_type="subscription", object_id="subscription_1", second=105)
    newer = of_answer(_subscription("active"), object_type="subscription", object_id="subscription_1", second=107)

    found = resolve(merge(merge(base, register([newer])), register([older])))

    assert found
    assert found.state["status"] == "active"


def test_12_no_shortcut_past_the_deletion() -> None:
    """Fetched at 102.7 (active); the deletion of 102.9 carries 102 and still wins."""
    answer = of_answer(_subscription("active"), object_type="subscription", object_id="subscription_1", second=102)
    deletion = merged([event("customer.subscription.deleted", 102, status="canceled")])

    assert resolve(merge(deletion, register([answer]))) == resolve(merge(register([answer]), deletion))
    found = resolve(merge(deletion, register([answer])))
    assert found
    assert found.state["status"] == "canceled"


def test_12_a_deletion_that_is_told_twice_leaves_no_doubt() -> None:
    """By its event, and within the same second by Stripe's answer, which shows nothing of the object."""
    deletion = merged([event("customer.deleted", 102, workspace_id="ws")])
    answer = register([of_answer(None, object_type="customer", object_id="customer_1", second=102)])

    found = resolve(merge(deletion, answer))

    assert found
    assert (found, found.deleted, found.ambiguous) == (resolve(merge(answer, deletion)), True, False)
    assert found.type == "customer.deleted"


def test_13_previous_attributes_are_no_patch() -> None:
    """They name the state before; the snapshot alone is the state after, and an event without them counts too."""
    found = in_any_order(
        updated(100, {"cancel_at_period_end": False}, status="active", cancel_at_period_end=True),
        event("customer.subscription.paused", 101, status="paused"),
    )

    assert found.state["status"] == "paused"
    assert "cancel_at_period_end" not in found.state


def test_14_another_api_version() -> None:
    """The period that moved to the items in basil is found in both places: nothing is overwritten with null."""
    old = updated(101, {}, items=items(1), current_period_start=100, current_period_end=200)
    old = type(old)(id=old.id, type=old.type, scope=old.scope, created=101, object=old.object, api_version="2024-06-20")

    assert resolved([old]).state["items"][0]["current_period_end"] == 200


def test_15_the_last_subscription_event_does_not_decide() -> None:
    """An old incomplete subscription expires after the new one became active: access stays."""
    expired = view(merged([updated(900, {"status": "incomplete"}, status="incomplete_expired")]))
    active = view(merged([updated(100, {"status": "incomplete"}, status="active")]))

    record = fold(with_views(Inputs(), "self/test/cus_1", {"sub_old": expired, "sub_new": active}))

    assert (record["subscription"], record["access"]) == ("sub_new", "full")


def test_there_and_back_within_a_second() -> None:
    """A → B → A ends where the second before ended."""
    found = in_any_order(
        updated(99, {"status": "incomplete"}, status="active"),
        updated(100, {"status": "active"}, status="past_due"),
        updated(100, {"status": "past_due"}, status="active"),
    )

    assert (found.state["status"], found.rule, found.ambiguous) == ("active", Rule.CYCLE, False)


def test_a_portal_cancellation_sets_only_cancel_at() -> None:
    """Flexible billing: cancellation is scheduled when either says so."""
    scheduled = view(merged([updated(100, {"cancel_at": None}, status="active", cancel_at=500)]))

    assert fold(with_views(Inputs(), "self/test/cus_1", {"sub": scheduled}))["cancel_at"] == 500


def test_an_explicit_null_clears() -> None:
    """trial_end: null is the end of the trial, not something unknown."""
    found = in_any_order(
        created(100, status="trialing", trial_end=500),
        updated(101, {"status": "trialing", "trial_end": 500}, status="active", trial_end=None),
    )

    assert "trial_end" not in found.state


def test_a_fetched_tombstone_of_a_customer_and_of_a_product() -> None:
    """A deleted customer is 200 with `deleted`, a deleted product is 404: both are gone."""
    customer = of_answer({"id": "cus_1", "deleted": True}, object_type="customer", object_id="cus_1", second=9)
    product = of_answer(None, object_type="product", object_id="prod_1", second=9)

    assert all(found and found.deleted for found in (resolve(register([customer])), resolve(register([product]))))


def test_a_product_id_used_again() -> None:
    """A product that was created after the deletion of another of its name exists."""
    found = in_any_order(event("product.deleted", 10, created=1), event("product.created", 20, created=20, name="new"))

    assert (found.deleted, found.state["name"]) == (False, "new")


def test_a_lost_event_within_a_second_is_a_doubt() -> None:
    """5 → 6, then 7 → 8: the step between is missing, so the object is fetched again."""
    found = in_any_order(
        updated(100, {"items": {"data": items(5)["data"]}}, items=items(6)),
        updated(100, {"items": {"data": items(7)["data"]}}, items=items(8)),
    )

    assert found.ambiguous


def _subscription(status: str) -> dict[str, object]:
    return {"id": "subscription_1", "object": "subscription", "created": 1, "customer": "cus_1", "status": status}
