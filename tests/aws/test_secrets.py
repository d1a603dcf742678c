"""Signing secrets: several, cached, read again when stale, and never in an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from nilometer.aws import secrets as room
from nilometer.aws.secrets import REFRESH_SECONDS, SigningSecrets, StripeKey, api_key
from nilometer.errors import Misconfigured, Unavailable


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """moto, in process and single-threaded: request shapes are all that is asked here."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("secretsmanager", region_name="us-east-1")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, to be moved by hand."""
    now = [1000.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: now[0])
    return now


def store(client: Any, text: str) -> SigningSecrets:
    return SigningSecrets(client, arn=client.create_secret(Name="signing", SecretString=text)["ARN"])


@pytest.mark.parametrize(
    "text",
    ["whsec_a whsec_b", "whsec_a,whsec_b", " whsec_a\n whsec_b\n", '["whsec_a", "whsec_b"]', "unset whsec_a, whsec_b"],
)
def test_several_secrets_in_any_of_the_usual_spellings(client: Any, text: str) -> None:
    """White space, commas or a JSON list; what is no signing secret is left out."""
    assert store(client, text).current() == ("whsec_a", "whsec_b")


@pytest.mark.parametrize("text", ["unset", "sk_live_1234", "[]", " "])
def test_no_signing_secret_is_told_to_the_operator(client: Any, text: str) -> None:
    """Without showing what is stored there instead."""
    with pytest.raises(Misconfigured) as caught:
        store(client, text).current()

    assert text.strip() == "" or text not in str(caught.value)


def test_a_secret_is_read_once_and_cached(client: Any, clock: list[float]) -> None:
    """A webhook pays for Secrets Manager at its cold start only."""
    secrets = store(client, "whsec_a")
    secrets.current()
    client.put_secret_value(SecretId="signing", SecretString="whsec_b")
    clock[0] += 3600

    assert secrets.current() == ("whsec_a",)


def test_a_refresh_reads_again_after_ten_seconds(client: Any, clock: list[float]) -> None:
    """And not before: a flood of forgeries is not passed on."""
    secrets = store(client, "whsec_a")
    secrets.current()
    client.put_secret_value(SecretId="signing", SecretString="whsec_b")

    assert secrets.refresh() == ("whsec_a",)
    clock[0] += REFRESH_SECONDS
    assert secrets.refresh() == ("whsec_b",)
    assert secrets.current() == ("whsec_b",)


def test_a_missing_secret_is_unavailable(client: Any) -> None:
    """Its ARN is wrong or it is being deleted: Stripe delivers again."""
    with pytest.raises(Unavailable):
        SigningSecrets(client, arn="arn:aws:secretsmanager:us-east-1:123456789012:secret:none").current()


def test_a_failed_read_does_not_count_as_fresh(client: Any, clock: list[float]) -> None:
    """The next request asks again instead of waiting ten seconds with nothing."""
    secrets = SigningSecrets(client, arn="later")
    with pytest.raises(Unavailable):
        secrets.current()
    client.create_secret(Name="later", SecretString="whsec_a")

    assert secrets.current() == ("whsec_a",)


def test_an_api_key_is_taken_as_it_is_stored(client: Any) -> None:
    """Secret or restricted, with or without a line's end."""
    arn = client.create_secret(Name="key", SecretString="rk_test_1234\n")["ARN"]

    assert api_key(client, arn=arn) == "rk_test_1234"


def test_an_api_key_is_read_again_every_five_minutes(client: Any, clock: list[float]) -> None:
    """It is asked for every minute; a key that was stored meanwhile is used soon."""
    arn = client.create_secret(Name="key", SecretString="unset")["ARN"]
    key = StripeKey(client, arn=arn)
    assert key.current() is None
    client.put_secret_value(SecretId=arn, SecretString="rk_test_new")

    clock[0] += 299
    before = key.current()
    clock[0] += 1

    assert (before, key.current()) == (None, "rk_test_new")


def test_the_placeholder_is_no_api_key(client: Any) -> None:
    """As the template deploys it: nothing is asked of Stripe."""
    arn = client.create_secret(Name="key", SecretString="unset")["ARN"]

    assert api_key(client, arn=arn) is None


def test_what_is_no_api_key_is_told_to_the_operator(client: Any) -> None:
    """Without showing what is stored there instead."""
    arn = client.create_secret(Name="key", SecretString="whsec_1234")["ARN"]

    with pytest.raises(Misconfigured) as caught:
        api_key(client, arn=arn)

    assert "whsec_1234" not in str(caught.value)
