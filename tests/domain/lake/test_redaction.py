"""Nothing personal and no secret survives, wherever it stands; what billing is about stays."""

from __future__ import annotations

import json
import zlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nilometer.domain.lake.redaction import REDACTED, id_text, image, is_private, key_text, stripe_payload

SECRET = "Zoë Müller-Planted"
PRIVATE_NAMES = [
    "email",
    "name",
    "phone",
    "address",
    "shipping",
    "billing_details",
    "customer_email",
    "customer_name",
    "customer_phone",
    "customer_address",
    "customer_shipping",
    "customer_tax_ids",
    "tax_id",
    "tax_ids",
    "account_tax_ids",
    "receipt_email",
    "ip",
    "client_ip",
    "ip_address",
    "user_agent",
    "client_secret",
    "secret",
    "hosted_invoice_url",
    "invoice_pdf",
    "url",
    "receipt_url",
    "success_url",
    "return_url",
    "last4",
    "fingerprint",
    "iban",
    "bic",
    "routing_number",
    "account_number",
    "account_holder_name",
    "first_name",
    "last_name",
    "dob",
    "id_number",
    "ssn_last_4",
    "description",
    "statement_descriptor",
    "footer",
    "memo",
    "comment",
    "message",
    "failure_message",
    "custom_fields",
    "customer_details",
    "individual",
    "company",
    "business_profile",
    "owner",
    "evidence",
    "verified_outputs",
    "document",
    "postal_code",
    "city",
    "line1",
    "line2",
    "token",
    "number",
    "value",
    "password",
    "token_hash",
    "api_key",
    "nickname",
    "signature",
]

leaf = st.sampled_from([SECRET, "planted", "planted@example.com", 4915112345678])
below = st.recursive(
    leaf,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "object", "id", "lines", "data"]), inner, min_size=1, max_size=2)
    ),
    max_leaves=4,
)
harmless = st.sampled_from([None, True, 5, "usd", "sub_1", {"object": "list", "data": []}])


def trees(planted: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects of any shape with something planted below a private name at some depth."""
    here = st.builds(
        lambda name, value, others: {**others, name: value},
        st.sampled_from(PRIVATE_NAMES),
        planted,
        st.dictionaries(st.sampled_from(["id", "status", "amount", "lines"]), harmless, max_size=3),
    )
    return st.recursive(
        here,
        lambda inner: (
            st.lists(inner, min_size=1, max_size=2)
            | st.dictionaries(
                st.sampled_from(["data", "object_", "previous_attributes", "lines", "x9"]), inner, min_size=1
            )
        ),
        max_leaves=3,
    )


@given(trees(below))
def test_nothing_planted_below_a_private_name_survives(tree: Any) -> None:
    """At any depth, in any object, of any event type."""
    text = json.dumps(stripe_payload({"object": "event", "type": "some.new.type", "data": tree}))

    assert "lanted" not in text
    assert "4915112345678" not in text


@given(trees(below))
def test_nothing_planted_survives_in_an_image(tree: Any) -> None:
    """Plain, inside a Stripe object, and compressed."""
    packed = zlib.compress(json.dumps(tree).encode())

    text = json.dumps(
        image({"pk": "A", "kind": "register", "plain": tree, "object": {"object": "x", "y": tree}, "z": packed})
    )

    assert "lanted" not in text
    assert "4915112345678" not in text


@given(
    st.sampled_from(
        [
            "zoe@example.com",
            "+49 151 1234567",
            "4915112345678",
            "12 High Street",
            "10.0.0.1",
            "2001:db8::1",
            "https://pay.stripe.com/i/acct_1/test_YWNjdF8x",
            "4242424242424242",
            "123-45-6789",
            "Zoë",
        ]
    )
)
def test_what_looks_personal_goes_under_any_name(value: str) -> None:
    """Stripe adds fields: an unknown name is no reason to keep what looks like a person's data."""
    assert stripe_payload({"brand_new_field": value, "deep": [{"another": [value]}]}) == {
        "brand_new_field": REDACTED,
        "deep": [{"another": [REDACTED]}],
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_redacting_twice_is_redacting_once(tree: Any) -> None:
    once = stripe_payload(tree)

    assert stripe_payload(once) == once


def test_what_billing_is_about_stays() -> None:
    """Ids, amounts, states, times, plans and the workspace."""
    invoice = {
        "id": "in_1",
        "object": "invoice",
        "number": "ACME-0001",
        "amount_paid": 4900,
        "amount_shipping": 0,
        "currency": "eur",
        "status": "paid",
        "created": 1795407245,
        "customer": "cus_1",
        "customer_email": None,
        "metadata": {"workspace_id": "ws_1", "note": REDACTED},
        "lines": {
            "data": [
                {
                    "price": {
                        "id": "price_1",
                        "object": "price",
                        "nickname": "Team yearly",
                        "unit_amount_decimal": "123456789.5",
                    }
                }
            ]
        },
        "product": {"object": "product", "name": "Team plan"},
        "period": "2026-11-23T04:14:05.123Z",
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
    }

    assert stripe_payload(invoice) == invoice


@pytest.mark.parametrize("kind", [None, "charge", "product", 7])
def test_a_field_without_a_name_is_no_public_one(kind: object) -> None:
    """Whatever the object is: a product's name is public, a field of any other name is not for that."""
    assert stripe_payload({"object": kind, "": "Ada Lovelace"}) == {"object": kind, "": REDACTED}


def test_metadata_keeps_names_and_the_workspace() -> None:
    """Any other value may be anybody's data."""
    metadata = {"workspace_id": "ws_1", "contact": "zoe", "colour": "5"}

    assert stripe_payload({"metadata": metadata}) == {
        "metadata": {"workspace_id": "ws_1", "contact": REDACTED, "colour": REDACTED}
    }


def test_what_the_project_defines_in_metadata_stays_readable() -> None:
    """Plans and limits are the catalog, and nobody's data."""
    metadata = {
        "plan": "team",
        "seats": "true",
        "limit_api_calls": "100000000",
        "limit_tokens": "1000/seat",
        "limits": '{"api_calls": {"included": 1000, "hard": true}}',
        "features": "sso, audit_log",
    }
    assert stripe_payload({"metadata": metadata}) == {"metadata": metadata}


@pytest.mark.parametrize("name", ["plan", "limits", "seats", "features", "limit_x"])
@pytest.mark.parametrize(
    "value",
    [
        "zoe@example.com",
        "Zoë Müller",
        "Zoe Miller",
        "+49 151 12345678",
        "192.168.0.1",
        "https://example.com/zoe",
        '{"included": "zoe@example.com"}',
        '{"email": "zoe"}',
        '["Zoe Miller"]',
        "[" * 5000,
        "x" * 20_000,
        {"included": 5},
    ],
)
def test_nothing_personal_hides_in_the_catalog(name: str, value: object) -> None:
    """A name of ours is no reason to believe the value."""
    assert stripe_payload({"metadata": {name: value}}) == {"metadata": {name: REDACTED}}


def test_an_id_that_may_be_an_address_becomes_its_hash() -> None:
    """Always the same, so that it still names the event."""
    assert id_text("req_1") == "req_1"
    assert id_text("zoe@example.com") == id_text("zoe@example.com") != id_text("ann@example.com")
    assert "zoe" not in id_text("zoe@example.com")


@pytest.mark.parametrize("workspace_id", ["zoe@example.com", "Zoë Müller", 5])
def test_a_workspace_id_must_look_like_one(workspace_id: object) -> None:
    assert stripe_payload({"metadata": {"workspace_id": workspace_id}}) == {"metadata": {"workspace_id": REDACTED}}


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_private_names_are_private(name: str) -> None:
    assert is_private(name)
    assert is_private(name.upper())


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "object",
        "type",
        "amount_shipping",
        "amount_due",
        "shipping_cost",
        "currency",
        "status",
        "customer",
        "subscription",
        "quantity",
        "plan",
        "price",
        "current_period_end",
        "collection_method",
        "event_name",
        "attempt_count",
    ],
)
def test_billing_names_are_public(name: str) -> None:
    assert not is_private(name)


@pytest.mark.parametrize("prefix", ["TOKEN", "SESSION", "INVITATION"])
def test_hashes_of_tokens_do_not_leave_in_keys(prefix: str) -> None:
    """The key stays the same key each time, and cannot be used to find the item."""
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

    hidden = key_text(f"{prefix}#{digest}")

    assert digest not in hidden
    assert hidden == key_text(f"{prefix}#{digest}")
    assert hidden != key_text(f"{prefix}#{digest[::-1]}")
    assert image({"pk": f"{prefix}#{digest}", "sk": "X"})["pk"] == hidden


def test_other_keys_stay() -> None:
    assert key_text("WORKSPACE#ws_1") == "WORKSPACE#ws_1"


def test_our_catalog_keeps_its_names() -> None:
    assert image({"pk": "METER#api", "sk": "METER", "kind": "meter", "name": "API calls"})["name"] == "API calls"
    assert image({"pk": "WORKSPACE#w", "sk": "WORKSPACE", "kind": "workspace", "name": "Zoë"})["name"] == REDACTED


def test_binary_that_is_no_json_becomes_its_hash() -> None:
    stored = image({"pk": "A", "sk": "B", "blob": b"\x00secret"})["blob"]

    assert stored["bytes"] == 7
    assert len(stored["sha256"]) == 64


def test_sets_and_order_do_not_matter() -> None:
    """Equal items have equal images, byte for byte."""
    one = {"pk": "A", "sk": "B", "tags": {"x", "y", "z"}, "a": {"k": 1, "j": 2}}
    two = {"a": {"j": 2, "k": 1}, "tags": {"z", "y", "x"}, "sk": "B", "pk": "A"}

    assert json.dumps(image(one)) == json.dumps(image(two))


def test_meters_may_be_named_as_they_like() -> None:
    """The names in a map of limits are meters, not fields."""
    limits = {"emails": 100, "llm_tokens": 5, "phone_numbers": 2}

    assert image({"pk": "A", "sk": "B", "limits": limits})["limits"] == limits
    assert image({"pk": "A", "limit_rules": {"messages": {"included": 5}}})["limit_rules"] == {
        "messages": {"included": 5}
    }


def test_what_stripe_s_meters_are_sent_stays_readable() -> None:
    """A number of ours, which `verify --steps` adds up; a text under the same name may be anybody's."""
    delta = {"value": Decimal("2.5"), "identifier": "4b5d810ef406f708ebeb9979468a3238ee580e23"}

    assert image({"kind": "metered", "pending": delta})["pending"] == delta
    assert image({"kind": "odd", "pending": {"value": "Ada Lovelace"}})["pending"] == {"value": REDACTED}
