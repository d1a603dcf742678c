"""The webhook: what it takes is on the bus, what it refuses is not stored, and an error says whether to try again."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config

from nilometer.aws import secrets as secrets_room
from nilometer.aws.eventbridge import ENTRY_BYTES, Bus
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import SigningSecrets
from nilometer.domain.stripe.signature import sign
from nilometer.errors import Misconfigured, Rejected, Unavailable
from nilometer.flows.billing.webhook import BODY_BYTES, CLAIM_BYTES, SOURCE, Published, receive
from nilometer.local.plane.engine import REGION, Engine, free_port

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRET = "whsec_current"
Client = Callable[[str], Any]


def event(**changes: Any) -> bytes:
    snapshot = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.subscription.updated",
        "created": 1795434000,
        "livemode": False,
        "api_version": "2026-10-28.endive",
        "data": {"object": {"id": "sub_1", "object": "subscription"}},
    }
    return json.dumps(snapshot | changes).encode()


def of_size(size: int) -> bytes:
    padding = size - len(event(pad=""))
    return event(pad="x" * padding)


@dataclass
class Door:
    """The flow with a bus, a queue that receives all of it, a bucket and a secret of its own."""

    client: Client
    name: str = field(default_factory=lambda: f"door-{uuid.uuid4().hex[:12]}")

    def __post_init__(self) -> None:
        self.client("events").create_event_bus(Name=self.name)
        self.client("s3").create_bucket(Bucket=self.name)
        self.queue = self.client("sqs").create_queue(QueueName=self.name)["QueueUrl"]
        arn = self.client("sqs").get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        self.client("events").put_rule(
            Name=self.name, EventBusName=self.name, EventPattern=json.dumps({"source": [{"prefix": ""}]})
        )
        self.client("events").put_targets(
            Rule=self.name, EventBusName=self.name, Targets=[{"Id": "all", "Arn": arn["Attributes"]["QueueArn"]}]
        )
        self.arn = self.client("secretsmanager").create_secret(Name=self.name, SecretString=SECRET)["ARN"]
        self.bus = Bus(self.client("events"), name=self.name)
        self.objects = Objects(self.client("s3"), bucket=self.name)
        self.secrets = SigningSecrets(self.client("secretsmanager"), arn=self.arn)

    def receive(self, body: bytes, signature: str | None = None, *, secret: str = SECRET, **other: Any) -> Published:
        header = sign(body, secret=secret, timestamp=int(NOW.timestamp())) if signature is None else signature
        dependencies = {"bus": self.bus, "objects": self.objects, "secrets": self.secrets, **other}
        return receive(body, header, now=NOW, **dependencies)

    def heard(self, count: int) -> list[dict[str, Any]]:
        """Waits for `count` events, and a little for more than that."""
        bodies: list[dict[str, Any]] = []
        deadline = time.monotonic() + (10 if count else 0.3)
        while time.monotonic() < deadline and len(bodies) < max(count, 1):
            answer = self.client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
            bodies += [json.loads(message["Body"]) for message in answer.get("Messages", ())]
        assert len(bodies) == count
        return bodies

    def stored(self) -> list[str]:
        return [found["Key"] for found in self.client("s3").list_objects_v2(Bucket=self.name).get("Contents", ())]

    def rotate(self, text: str) -> None:
        self.client("secretsmanager").put_secret_value(SecretId=self.arn, SecretString=text)


@pytest.fixture
def client(aws: Engine) -> Client:
    def build(service: str, endpoint_url: str = aws.endpoint_url) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]  # a name, not a literal
            endpoint_url=endpoint_url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=1),
        )

    return build


@pytest.fixture
def door(client: Client) -> Door:
    return Door(client)


def test_an_event_reaches_the_bus_as_it_came(door: Door) -> None:
    """Under its own type; the detail is the raw body, with what this release does not know."""
    body = event(new_field={"from": "Stripe"})

    published = door.receive(body)

    [heard] = door.heard(1)
    assert published == Published("evt_1", "customer.subscription.updated", claimed=False)
    assert (heard["source"], heard["detail-type"]) == (SOURCE, "customer.subscription.updated")
    assert heard["detail"] == json.loads(body)


def test_a_thin_event_passes(door: Door) -> None:
    """Version 2 names a related object instead of carrying it, and its times are text."""
    body = json.dumps(
        {
            "id": "evt_test_65R9",
            "object": "v2.core.event",
            "type": "v2.core.account.updated",
            "created": "2026-11-23T12:00:00.000Z",
            "livemode": False,
            "related_object": {"id": "acct_1", "type": "v2.core.account", "url": "/v2/core/accounts/acct_1"},
        }
    ).encode()

    assert door.receive(body).type == "v2.core.account.updated"
    assert door.heard(1)[0]["detail"]["related_object"]["id"] == "acct_1"


@pytest.mark.parametrize(
    "signature", ["", "t=1,v1=00", "nonsense", sign(event(), secret="whsec_forged", timestamp=int(NOW.timestamp()))]
)
def test_a_forged_signature_leaves_no_trace(door: Door, signature: str) -> None:
    """Nothing on the bus and nothing in the bucket."""
    with pytest.raises(Rejected) as caught:
        door.receive(event(), signature)

    assert caught.value.reason == "invalid_signature"
    assert door.heard(0) == door.stored() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"id": "evt_1"}',
        event(object="customer"),
        event(id=""),
        event(type=""),
        event(id=7),
        event()[:-1] + b', "x": "\xff"}',
    ],
)
def test_what_is_no_event_is_rejected_for_good(door: Door, body: bytes) -> None:
    """Signed, so from Stripe, but of a shape that we would only dead-letter: 400 and a reason."""
    with pytest.raises(Rejected) as caught:
        door.receive(body)

    assert caught.value.reason == "invalid_json"
    assert door.heard(0) == []


@pytest.mark.parametrize(("size", "claimed"), [(CLAIM_BYTES, False), (CLAIM_BYTES + 1, True), (BODY_BYTES, True)])
def test_a_large_body_travels_as_a_claim(door: Door, size: int, *, claimed: bool) -> None:
    """The body rests under its hash, whole; the event says where, and what billing must know without it."""
    body = of_size(size)

    assert door.receive(body).claimed is claimed

    [heard] = door.heard(1)
    assert ("claim" in heard["detail"]) is claimed
    if claimed:
        assert heard["detail"]["claim"] == f"claims/{hashlib.sha256(body).hexdigest()}"
        assert (heard["detail"]["id"], heard["detail"]["type"]) == ("evt_1", "customer.subscription.updated")
        assert door.objects.get(heard["detail"]["claim"]) == body


def test_a_body_over_the_limit_is_refused_before_it_is_hashed(door: Door) -> None:
    """No secret is read for it either."""
    with pytest.raises(Rejected) as caught:
        door.receive(b" " * (BODY_BYTES + 1), "t=1,v1=00", secrets=None)

    assert caught.value.reason == "too_large"


def test_text_of_many_bytes_stays_below_the_limit_of_the_bus(door: Door) -> None:
    """The guard counts bytes, not characters."""
    body = json.dumps({**json.loads(event()), "pad": "€" * 70_000}, ensure_ascii=False).encode()
    assert CLAIM_BYTES > len(body.decode()) > CLAIM_BYTES / 3

    assert door.receive(body).claimed is (len(body) > CLAIM_BYTES)
    assert len(json.dumps(door.heard(1)[0])) < ENTRY_BYTES


def test_a_bus_that_is_away_asks_stripe_to_come_again(door: Door, client: Client) -> None:
    """Unavailable becomes 500, and Stripe delivers for three days; the log names what is on its way."""
    nobody = client("events", f"http://127.0.0.1:{free_port()}")

    with pytest.raises(Unavailable, match=f"^{json.loads(event())['id']} was not taken: the bus"):
        door.receive(event(), bus=Bus(nobody, name=door.name))


def test_a_bucket_that_is_away_publishes_no_broken_claim(door: Door, client: Client) -> None:
    """The reference goes out after the content is safe, never before."""
    nobody = Objects(client("s3", f"http://127.0.0.1:{free_port()}"), bucket=door.name)

    with pytest.raises(Unavailable):
        door.receive(of_size(CLAIM_BYTES + 1), objects=nobody)

    assert door.heard(0) == []


def test_a_delivery_again_makes_the_same_claim(door: Door) -> None:
    """When the answer was lost Stripe sends the same bytes: one object, and billing drops the duplicate."""
    body = of_size(CLAIM_BYTES + 1)

    for _ in range(2):
        door.receive(body)

    first, second = door.heard(2)
    assert first["detail"] == second["detail"]
    assert door.stored() == [first["detail"]["claim"]]


def test_a_rotated_secret_is_read_again_at_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first event under the new secret passes, without a deployment."""
    door.receive(event())
    door.rotate("whsec_newer whsec_current")
    monkeypatch.setattr(secrets_room, "REFRESH_SECONDS", 0)

    door.receive(event(id="evt_2"), secret="whsec_newer")

    assert {heard["detail"]["id"] for heard in door.heard(2)} == {"evt_1", "evt_2"}


def test_forgeries_do_not_become_requests(door: Door) -> None:
    """A mismatch reads the secret again at most every ten seconds, however many knock."""
    reads = []
    read = door.secrets._read
    door.secrets._read = lambda: reads.append(1) or read()  # type: ignore[method-assign,func-returns-value]  # counts

    for _ in range(20):
        with pytest.raises(Rejected):
            door.receive(event(), secret="whsec_forged")

    assert len(reads) == 1


def test_an_endpoint_without_a_secret_is_closed(door: Door) -> None:
    """The placeholder of the first deployment verifies nothing and says what to do."""
    door.rotate("unset")

    with pytest.raises(Misconfigured, match="nilometer stripe endpoint create"):
        door.receive(event(), secret="unset")

    assert door.heard(0) == []
