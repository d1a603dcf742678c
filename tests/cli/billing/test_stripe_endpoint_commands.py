"""`nilometer stripe endpoint`: from no endpoint to a rotated secret, which nobody sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from nilometer.domain.stripe.handled import API_VERSION, EVENT_TYPES
from nilometer.local.stripe.server import FakeStripe, serve
from nilometer.local.stripe.world import StripeWorld

Run = Callable[..., Any]


@pytest.fixture
def fake() -> Iterator[tuple[str, FakeStripe]]:
    with serve(StripeWorld(datetime.now(UTC).replace(microsecond=0), seed=1)) as served:
        yield served


@pytest.fixture
def endpoint(alone: Any, deployed: Any, fake: tuple[str, FakeStripe]) -> Run:
    """The command, of a stack whose secret is unset, against the simulated Stripe."""
    deployed.store("StripeSecretArn", "unset")

    def run(*arguments: str) -> Any:
        key = {"STRIPE_API_KEY": "sk_test_fake", **deployed.environment}
        return alone("stripe", "endpoint", *arguments, "--stack", deployed.name, "--api-base", fake[0], env=key)

    return run


def test_the_secret_goes_where_the_webhook_reads_it(endpoint: Run, deployed: Any, fake: tuple[str, FakeStripe]) -> None:
    """It is printed nowhere."""
    answer = endpoint("create", "--json")

    [secret] = fake[1].endpoints.secrets.values()
    assert deployed.signing_secrets == secret
    assert answer.json["url"] == deployed.outputs["WebhookUrl"]
    assert (answer.json["api_version"], answer.json["events"]) == (API_VERSION, list(EVENT_TYPES))
    assert secret not in answer.out + answer.err
    assert "test mode" in answer.err


def test_who_asks_for_the_secret_gets_it_alone(endpoint: Run, fake: tuple[str, FakeStripe]) -> None:
    """For another machine that verifies too; asked again, there is none to show."""
    first, again = endpoint("create", "--show-secret"), endpoint("create", "--show-secret")

    [(id_, secret)] = fake[1].endpoints.secrets.items()
    assert first.out == f"{secret}\n"
    assert again.out == f"{id_}\n"


def test_all_events_and_another_url(endpoint: Run, fake: tuple[str, FakeStripe]) -> None:
    """A domain of one's own before the stack."""
    made = endpoint("create", "--all-events", "--connect", "--url", "https://hooks.example.com/stripe", "--json").json

    assert (made["url"], made["events"], made["connect"]) == ("https://hooks.example.com/stripe", ["*"], True)


def test_the_list_says_whose_and_whether_the_secret_is_stored(
    endpoint: Run, deployed: Any, fake: tuple[str, FakeStripe]
) -> None:
    """One of ours, one made by hand."""
    form = {"url": "https://example.com/other", "enabled_events[0]": "*"}
    fake[1].endpoints.create(form, key=None, created=1)
    made = endpoint("create", "--json").json
    listed = {line["id"]: line for line in endpoint("list", "--json").lines}
    deployed.store("StripeSecretArn", "unset")

    assert listed[made["id"]]["secret"] == "stored"
    assert [line["secret"] for line in listed.values() if line["id"] != made["id"]] == ["not ours"]
    assert "not stored here" in endpoint("list").out


def test_what_nobody_can_verify_is_made_again_when_asked(
    endpoint: Run, deployed: Any, fake: tuple[str, FakeStripe]
) -> None:
    """As after a run that died between Stripe and Secrets Manager."""
    lost = endpoint("create", "--json").json["id"]
    deployed.store("StripeSecretArn", "unset")

    refused, made = endpoint("create"), endpoint("create", "--yes", "--json").json

    assert (refused.code, f"Nobody has the secret of {lost}" in refused.err) == (2, True)
    assert list(fake[1].endpoints.by_id) == [made["id"]]
    assert deployed.signing_secrets == fake[1].endpoints.secrets[made["id"]]


def test_a_rotation_takes_two_runs(endpoint: Run, deployed: Any, fake: tuple[str, FakeStripe]) -> None:
    """It says when the second may come, and the old secret is gone at the end."""
    old = endpoint("create", "--json").json["id"]
    begun, early, ended = (endpoint("rotate-secret", *options, "--json") for options in ([], [], ["--overlap", "0"]))

    new = begun.json["id"]
    assert f"{new} is new and replaces {old}; run this again in 72 hours" in begun.err
    assert f"too early to end {old}: both send until " in early.err
    assert f"{old} is deleted, its secret removed; {new} alone sends" in ended.err
    assert fake[1].endpoints.secrets == {new: deployed.signing_secrets}


def test_a_stack_here_is_out_of_stripes_reach(nilometer: Any, stack: Any) -> None:
    """And what helps is named."""
    answer = nilometer("stripe", "endpoint", "create", env={"STRIPE_API_KEY": "sk_test_fake"})

    assert answer.code == 1
    assert "Stripe cannot reach http://127.0.0.1" in answer.err
    assert "give --url of a tunnel, or use stripe listen --forward-to" in answer.err


def test_a_key_that_may_not_is_told(endpoint: Run, fake: tuple[str, FakeStripe]) -> None:
    """By its access, not by a traceback."""
    fake[1].forbidden.add("webhook_endpoints")

    answer = endpoint("create")

    assert answer.code == 1
    assert answer.err.splitlines()[-1] == (
        "Error: Stripe refused the API key for GET /v1/webhook_endpoints; give it read access"
    )
