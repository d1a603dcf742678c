"""Our verification against Stripe's own, on random bodies, secrets and headers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
import stripe
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from nilometer.domain.stripe.signature import TOLERANCE_SECONDS, sign, verify
from nilometer.errors import Rejected

NOW = datetime(2026, 11, 23, 4, 14, 5, tzinfo=UTC)
SECOND = int(NOW.timestamp())
SECRET = "whsec_test"
BODY = b'{"id": "evt_1"}'

secrets = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=40).map(
    "whsec_".__add__
)
bodies = st.text(max_size=200).map(str.encode)
# Around the edge of the tolerance, and far away. None from the future, where we are stricter.
ages = st.one_of(st.integers(0, 2 * TOLERANCE_SECONDS), st.integers(0, SECOND))
# Stripe's library raises TypeError for others; ours refuses them, below
values = st.text(st.characters(codec="ascii", exclude_characters=",="), max_size=70)
digits = st.integers(0, 10**11).map(str)


@st.composite
def headers(draw: st.DrawFn, body: bytes, secret: str, timestamp: int) -> str:
    """Parts of a genuine header among others, in any order, some twice, some bare, some torn."""
    time, signature = sign(body, secret=secret, timestamp=timestamp).split(",")
    part = st.one_of(
        st.sampled_from(
            [time, signature, signature[:-1], signature.upper(), f"{signature}=", "t", "v1", "", "v1=", "=v1"]
        ),
        digits.map("t={}".format),
        st.sampled_from(["v0", "v1", "v2", "scheme"]).flatmap(lambda name: values.map(lambda v: f"{name}={v}")),
        values,
    )
    return ",".join([*draw(st.permutations([time, signature])), *draw(st.lists(part, max_size=4))])


@st.composite
def shuffled_headers(draw: st.DrawFn, body: bytes, secret: str, timestamp: int) -> str:
    parts = draw(headers(body, secret, timestamp)).split(",")
    return ",".join(draw(st.permutations(parts))[draw(st.integers(0, 1)) :])


def ours(body: bytes, header: str, *keys: str) -> bool:
    try:
        verify(body, header, secrets=keys, now=NOW)
    except Rejected:
        return False
    return True


def theirs(body: bytes, header: str, secret: str) -> bool:
    with patch("stripe._webhook.time.time", return_value=NOW.timestamp()):
        try:
            stripe.WebhookSignature.verify_header(body.decode(), header, secret, TOLERANCE_SECONDS)
        except stripe.SignatureVerificationError:
            return False
        return True


@settings(max_examples=1500, deadline=None)
@given(st.data(), bodies, secrets, ages)
def test_we_decide_as_stripe_does(data: st.DataObject, body: bytes, secret: str, age: int) -> None:
    """Several v1 in one header, other schemes, odd parts, changed bodies, wrong secrets: one verdict."""
    header = data.draw(shuffled_headers(body, secret, SECOND - age))
    times = [part[2:] for part in header.split(",") if part.startswith("t=")]
    # int() takes " 1", "+1", "1_0" and other scripts' digits; Stripe never sends them and we do not take them
    assume(all(time.isascii() and time.isdigit() and int(time) <= SECOND for time in times))
    received = data.draw(st.sampled_from([body, body + b" "]))
    key = data.draw(st.sampled_from([secret, secret + "x"]))

    assert ours(received, header, key) is theirs(received, header, key)


@settings(max_examples=300, deadline=None)
@given(bodies, st.text(), secrets)
@example(b"", "t=,v1=", "whsec_")
@example(b"", "t=1,v1=\ud800", "whsec_")
def test_any_text_as_a_header_is_refused(body: bytes, header: str, secret: str) -> None:
    """Without another error than Rejected: the webhook answers 400, not 500."""
    assert not ours(body, header, secret)


def test_a_timestamp_of_thousands_of_digits_is_refused() -> None:
    """int() raises ValueError beyond 4,300 digits, which was answered with 500 and so came again."""
    assert not ours(BODY, f"t={'9' * 5000},v1=00", SECRET)


@given(bodies, secrets, st.lists(secrets, max_size=3), st.integers(0, 3))
def test_any_of_several_secrets_may_have_signed(body: bytes, secret: str, others: list[str], place: int) -> None:
    """While a secret rotates Stripe signs with the old and the new one."""
    keys = [*others[:place], secret, *others[place:]]

    assert ours(body, sign(body, secret=secret, timestamp=SECOND), *keys)


def test_one_of_several_signatures_suffices() -> None:
    """Stripe sends one v1 a secret; we may know only the newer."""
    older = sign(BODY, secret="whsec_old", timestamp=SECOND)
    newer = sign(BODY, secret="whsec_new", timestamp=SECOND).split(",")[1]

    assert ours(BODY, f"{older},{newer}", "whsec_new")
    assert not ours(BODY, f"{older},{newer}", "whsec_other")


def test_no_secret_accepts_nothing() -> None:
    """An endpoint whose secret is not set yet is closed, not open."""
    assert not ours(BODY, sign(BODY, secret="", timestamp=SECOND))


@pytest.mark.parametrize(
    ("away", "accepted"),
    [
        (-TOLERANCE_SECONDS - 1, False),
        (-TOLERANCE_SECONDS, True),
        (TOLERANCE_SECONDS, True),
        (TOLERANCE_SECONDS + 1, False),
    ],
)
def test_the_tolerance_holds_both_ways(away: int, *, accepted: bool) -> None:
    """A timestamp from the future is refused too; Stripe's library would take it."""
    header = sign(BODY, secret=SECRET, timestamp=SECOND + away)

    assert ours(BODY, header, SECRET) is accepted
    assert theirs(BODY, header, SECRET) is (away >= -TOLERANCE_SECONDS)


def test_a_replay_is_refused_when_its_time_has_passed() -> None:
    """The same bytes and the same header, five minutes later."""
    header = sign(BODY, secret=SECRET, timestamp=SECOND)
    verify(BODY, header, secrets=[SECRET], now=NOW)

    with pytest.raises(Rejected):
        verify(BODY, header, secrets=[SECRET], now=NOW + timedelta(seconds=TOLERANCE_SECONDS + 1))


def every_byte_changed(body: bytes) -> Iterator[bytes]:
    for position, byte in enumerate(body):
        yield body[:position] + bytes([byte ^ 1]) + body[position + 1 :]


def test_no_changed_byte_passes() -> None:
    """The signature covers the raw bytes, white space included."""
    header = sign(BODY, secret=SECRET, timestamp=SECOND)

    assert not any(ours(changed, header, SECRET) for changed in every_byte_changed(BODY))


def test_the_secret_stays_out_of_the_error() -> None:
    """What is logged must not help to forge."""
    with pytest.raises(Rejected) as caught:
        verify(BODY, sign(BODY, secret="whsec_other", timestamp=SECOND), secrets=[SECRET], now=NOW)

    assert SECRET not in str(caught.value)
    assert caught.value.reason == "invalid_signature"
