"""Endpoints at Stripe: the official SDK against the simulated Stripe, secrets in a real Secrets Manager API."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nilometer.aws.clients import client
from nilometer.aws.secrets import SigningSecrets
from nilometer.domain.stripe.endpoint import OVERLAP, EndpointPlace, digest
from nilometer.domain.stripe.handled import API_VERSION, EVENT_TYPES
from nilometer.domain.stripe.signature import sign, verify
from nilometer.errors import Misconfigured, Refused, Rejected, Unavailable
from nilometer.flows.billing.endpoints import Endpoints
from nilometer.local.plane.engine import Engine
from nilometer.local.stripe.server import FakeStripe, serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api.client import StripeApi

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
PLACE = EndpointPlace(stack="nilometer-dev", url="https://example.com/webhooks/stripe")


@pytest.fixture
def served() -> Iterator[tuple[str, FakeStripe]]:
    with serve(StripeWorld(NOW, seed=1)) as running:
        yield running


@pytest.fixture
def fake(served: tuple[str, FakeStripe]) -> FakeStripe:
    return served[1]


@pytest.fixture
def api(served: tuple[str, FakeStripe]) -> StripeApi:
    return StripeApi("sk_test_fake", base_url=served[0], requests_per_second=500)


@pytest.fixture
def signing(aws: Engine) -> SigningSecrets:
    made = client("secretsmanager").create_secret(Name=f"signing-{uuid.uuid4().hex[:8]}", SecretString="unset")
    return SigningSecrets(client("secretsmanager"), arn=made["ARN"])


@pytest.fixture
def endpoints(api: StripeApi, signing: SigningSecrets) -> Endpoints:
    return Endpoints(api, signing, PLACE)


class Dying:
    """An API whose process ends before or after one of its calls."""

    def __init__(self, api: StripeApi, name: str, *, after: bool) -> None:
        self._api, self._name, self._after = api, name, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._api, name)
        if name != self._name:
            return real

        def dying(*args: Any, **params: Any) -> Any:
            if self._after:
                real(*args, **params)
            raise KeyboardInterrupt

        return dying


def verified(fake: FakeStripe, signing: SigningSecrets) -> list[str]:
    """The endpoints whose deliveries pass with what is stored."""
    return [id_ for id_, secret in fake.endpoints.secrets.items() if passes(secret, signing)]


def passes(secret: str, signing: SigningSecrets) -> bool:
    header = sign(b"{}", secret=secret, timestamp=int(NOW.timestamp()))
    try:
        verify(b"{}", header, secrets=signing.stored(), now=NOW)
    except Rejected:
        return False
    return True


def test_an_endpoint_is_pinned_and_its_secret_stored(
    endpoints: Endpoints, fake: FakeStripe, signing: SigningSecrets
) -> None:
    """With exactly the events that we handle."""
    made = endpoints.create()

    [at_stripe] = fake.endpoints.listed()
    assert (at_stripe["api_version"], at_stripe["url"]) == (API_VERSION, PLACE.url)
    assert sorted(at_stripe["enabled_events"]) == sorted(EVENT_TYPES)
    assert signing.stored() == (made.secret,) == tuple(fake.endpoints.secrets.values())
    assert made.endpoint.ready(signing.stored())


def test_doing_it_again_changes_nothing(endpoints: Endpoints, fake: FakeStripe) -> None:
    """One endpoint, and no secret is shown again."""
    first = endpoints.create()

    assert endpoints.create() == type(first)(endpoint=first.endpoint, secret=None)
    assert len(fake.endpoints.by_id) == 1


def test_event_types_are_brought_up_to_date(endpoints: Endpoints, fake: FakeStripe) -> None:
    """A version that handles more asks for more, and the secret stays."""
    made = endpoints.create(events=EVENT_TYPES[:3])

    assert set(endpoints.create().endpoint.events) == set(EVENT_TYPES)
    assert list(fake.endpoints.by_id) == [made.endpoint.id]


def test_places_do_not_touch_each_other(endpoints: Endpoints, api: StripeApi, signing: SigningSecrets) -> None:
    """One's own events and those of Connect accounts need an endpoint each, another stack has its own."""
    own = endpoints.create().endpoint
    connect = Endpoints(api, signing, EndpointPlace(stack=PLACE.stack, url=PLACE.url, connect=True)).create().endpoint
    other = Endpoints(api, signing, EndpointPlace(stack="nilometer-prod", url=PLACE.url)).create().endpoint

    assert len({own.id, connect.id, other.id}) == 3
    assert endpoints.create().endpoint == own
    assert connect.place
    assert connect.place.connect


@pytest.mark.parametrize(
    ("dies_at", "after"),
    [("create_webhook_endpoint", True), ("update_webhook_endpoint", False), ("update_webhook_endpoint", True)],
)
def test_whoever_dies_while_making_leaves_no_endpoint_that_nobody_can_verify(
    endpoints: Endpoints, api: StripeApi, fake: FakeStripe, signing: SigningSecrets, dies_at: str, after: bool
) -> None:
    """The next run finds it, and one endpoint sends whose secret is stored."""
    with pytest.raises(KeyboardInterrupt):
        Endpoints(Dying(api, dies_at, after=after), signing, PLACE).create()  # type: ignore[arg-type]
    complete = dies_at == "update_webhook_endpoint" and after

    assert len(endpoints.lost()) == (0 if complete else 1)
    endpoints.create()

    assert endpoints.lost() == []
    assert len(fake.endpoints.by_id) == len(verified(fake, signing)) == 1


def test_a_lost_answer_makes_one_endpoint(endpoints: Endpoints, fake: FakeStripe, signing: SigningSecrets) -> None:
    """Asked again under the same key, Stripe tells the same secret."""
    fake.lose(2)

    endpoints.create()

    assert len(fake.endpoints.by_id) == len(verified(fake, signing)) == 1


def test_a_secret_that_cannot_be_stored_leaves_no_endpoint(served: tuple[str, FakeStripe], aws: Engine) -> None:
    """It would send what nobody can verify."""
    arn = client("secretsmanager").create_secret(Name=f"gone-{uuid.uuid4().hex[:8]}", SecretString="unset")["ARN"]

    class Meanwhile(StripeApi):
        """Somebody deletes the stack while Stripe makes the endpoint."""

        def create_webhook_endpoint(self, **params: Any) -> dict[str, Any]:
            client("secretsmanager").delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
            return super().create_webhook_endpoint(**params)

    meanwhile = Meanwhile("sk_test_fake", base_url=served[0], requests_per_second=500)
    with pytest.raises(Unavailable, match="ResourceNotFoundException"):
        Endpoints(meanwhile, SigningSecrets(client("secretsmanager"), arn=arn), PLACE).create()

    assert served[1].endpoints.by_id == {}


def test_a_rotation_is_never_without_a_verified_sender(
    endpoints: Endpoints, fake: FakeStripe, signing: SigningSecrets
) -> None:
    """Old and new send side by side until the overlap is over; then the old secret verifies nothing any more."""
    old = endpoints.create()

    begun = endpoints.rotate(now=NOW, overlap=OVERLAP)
    assert verified(fake, signing) == [old.endpoint.id, begun.current.id]
    assert begun.current.replaces == old.endpoint.id

    early = endpoints.rotate(now=NOW + timedelta(hours=71), overlap=OVERLAP)
    assert (early.ends, len(fake.endpoints.by_id)) == (NOW + OVERLAP, 2)

    ended = endpoints.rotate(now=NOW + OVERLAP, overlap=OVERLAP)
    assert (ended.ended, list(fake.endpoints.by_id)) == ((old.endpoint.id,), [begun.current.id])
    assert signing.stored() == (begun.made,)
    assert endpoints.create().endpoint == ended.current
    assert ended.current.replaces is None


@pytest.mark.parametrize(
    ("dies_at", "after"),
    [
        ("create_webhook_endpoint", True),
        ("update_webhook_endpoint", False),
        ("update_webhook_endpoint", True),
        ("delete_webhook_endpoint", False),
        ("delete_webhook_endpoint", True),
    ],
)
@pytest.mark.parametrize("step", [1, 2])
def test_a_rotation_that_died_is_gone_on_with(
    endpoints: Endpoints,
    api: StripeApi,
    fake: FakeStripe,
    signing: SigningSecrets,
    step: int,
    dies_at: str,
    after: bool,
) -> None:
    """At every point: what sends is verified, and in the end one endpoint and its secret are left."""
    old = endpoints.create()
    dying = Endpoints(Dying(api, dies_at, after=after), signing, PLACE)  # type: ignore[arg-type]
    for number in (1, 2):
        with contextlib.suppress(KeyboardInterrupt):
            (dying if number == step else endpoints).rotate(now=NOW, overlap=timedelta(0))
        assert verified(fake, signing)
    while any("nilometer_replaces" in one["metadata"] for one in fake.endpoints.listed()):
        endpoints.rotate(now=NOW, overlap=timedelta(0))

    assert len(fake.endpoints.by_id) == len(verified(fake, signing)) == 1
    assert old.secret not in signing.stored()


def test_twins_that_rotate_at_once_leave_one(
    endpoints: Endpoints, api: StripeApi, fake: FakeStripe, signing: SigningSecrets
) -> None:
    """Both made one; the end of the rotation deletes the slower twin's too."""
    endpoints.create()
    [current] = endpoints.all()
    for _ in range(2):
        endpoints._make(EVENT_TYPES, current)

    endpoints.rotate(now=NOW, overlap=timedelta(0))

    assert len(fake.endpoints.by_id) == len(signing.stored()) == len(verified(fake, signing)) == 1


def test_nothing_of_ours_is_nothing_to_rotate(endpoints: Endpoints) -> None:
    """An endpoint made by hand has no mark that would tell its secret."""
    with pytest.raises(Refused, match="stripe endpoint create"):
        endpoints.rotate(now=NOW, overlap=OVERLAP)


def test_another_api_version_is_replaced_and_not_changed(
    endpoints: Endpoints, fake: FakeStripe, signing: SigningSecrets
) -> None:
    """Stripe cannot change an endpoint's version."""
    made = endpoints.create().endpoint
    fake.endpoints.by_id[made.id]["api_version"] = "2025-01-27.acacia"

    with pytest.raises(Refused, match="rotate-secret replaces it"):
        endpoints.create()
    assert endpoints.rotate(now=NOW, overlap=OVERLAP).current.api_version == API_VERSION


def test_stripes_own_refusals_are_sentences(fake: FakeStripe, api: StripeApi, signing: SigningSecrets) -> None:
    """A URL that it cannot reach, and a key that may not write."""
    with pytest.raises(Rejected, match="url_invalid"):
        Endpoints(api, signing, EndpointPlace(stack="s", url="http://127.0.0.1/webhooks/stripe")).create()
    fake.forbidden.add("webhook_endpoints")
    with pytest.raises(Misconfigured, match="read access"):
        Endpoints(api, signing, PLACE).create()


def test_the_mark_tells_nothing_of_the_secret(endpoints: Endpoints, fake: FakeStripe) -> None:
    """Metadata is shown to everybody who sees the account."""
    made = endpoints.create()

    metadata = str(fake.endpoints.listed())
    assert made.secret
    assert made.secret not in metadata
    assert digest(made.secret) in metadata
