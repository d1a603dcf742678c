"""E-mail of notifications: at most once, as its person wants it, and no address is kept or told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.validate import ParamValidator
from standardwebhooks.webhooks import Webhook as Verifier
from tests.support.events.mail import Owner, answering, mails
from tests.support.people import workspace

from nilometer import AddMember, Notify, RemoveMember, SetPreference, UpdateWorkspace, perform, service
from nilometer.aws import clients
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.aws.ses import Mailer, _request
from nilometer.domain.acts.roles import Role
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.notices.mail import CLAIM, Recipient, mail_of
from nilometer.domain.notices.webhook_signature import addresses_secret
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table
from nilometer.flows.notices.addresses import Addresses
from nilometer.flows.notices.mailing import LATEST, MailMeans, handle
from nilometer.flows.notices.notifications import mark_read
from nilometer.local.plane.engine import REGION, Engine

KEY = "key of the stack"
DOMAIN = "mail.example.com"
ADDRESS = "ada.lovelace@example.org"

US = service("ws_acme", "tests")


@pytest.fixture
def owner() -> Iterator[Owner]:
    """It has ada's address."""
    with answering() as made:
        made.status, made.answer = 200, {"email": ADDRESS}
        yield made


def ses(endpoint: str) -> Any:
    """With botocore's own check of the request, which the functions go without."""
    where = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    config = clients._config("sesv2").merge(Config(parameter_validation=True))
    return boto3.client("sesv2", endpoint_url=endpoint, region_name=REGION, config=config, **where)


@dataclass
class Way:
    """From the bus to SES."""

    store: Store
    objects: Objects
    aws: Engine
    owner: Owner
    now: datetime = field(default_factory=lambda: datetime.now(UTC))  # a receiver refuses what is older than minutes
    endpoint: str = ""
    domain: str = DOMAIN

    def notify(self, **more: Any) -> Item:
        """What the table has of a notification to ada."""
        said = {"user_id": "ada", "topic": "billing.payment_failed", "title": "A payment failed", **more}
        found = perform(self.store, US, Notify(**said), now=self.now)
        return self.item(found.id)

    def item(self, notification_id: str) -> Item:
        found = self.store.get(Table.RECORDS, keys.notification("ada", notification_id), consistent=True)
        assert found
        return found

    def tried(self, item: Item, kind: str = "notification", **more: Any) -> Result:
        sender = f"notifications@{self.domain}"
        means = MailMeans(
            store=self.store,
            addresses=Addresses(self.owner.url, lambda: KEY, loopback=True),
            mails=Mailer(ses(self.endpoint or self.aws.endpoint_url), sender=sender),
            links="https://app.example.com/",
            now=lambda: self.now,
            **more,
        )
        [result] = handle([Message("1", changed(item, kind))], means, objects=self.objects)
        return result

    def sent(self, subject: str) -> list[dict[str, Any]]:
        """The mails that SES took."""
        return mails(self.aws.endpoint_url, subject)


@pytest.fixture
def way(store: Store, objects: Objects, aws: Engine, owner: Owner) -> Way:
    workspace(store, "ws_acme")
    if DOMAIN not in {one["IdentityName"] for one in ses(aws.endpoint_url).list_email_identities()["EmailIdentities"]}:
        ses(aws.endpoint_url).create_email_identity(EmailIdentity=DOMAIN)
    return Way(store, objects, aws, owner)


def changed(item: Item, kind: str) -> str:
    """As the bus delivers the change to the queue, with what decides."""
    detail = {"data": {"kind": kind, "pk": item["pk"], "sk": item["sk"]}}
    event = {
        "id": "1",
        "source": "nilometer.changes",
        "detail-type": "record.changed.v1",
        "time": "2026-11-23T04:14:06Z",
    }
    return json.dumps({**event, "detail": detail})


def test_a_notification_is_mailed_once(way: Way) -> None:
    """As text and as HTML that shows what it was given and obeys none of it; a second delivery is a duplicate."""
    title, text = "5 < 6 & <b>so on</b>", "First line\n<script>alert(1)</script>"
    item = way.notify(title=title, text=text, link='/billing?of="acme"', once="once")
    way.owner.answer["unsubscribe"] = "https://app.example.com/mail?off=1"

    assert [way.tried(item).outcome for _ in range(2)] == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    [mail] = way.sent(title)
    assert (mail["Source"], mail["To"], mail["CC"]) == (f"notifications@{DOMAIN}", [ADDRESS], [])
    link = 'https://app.example.com/billing?of="acme"'
    assert mail["BodyText"] == f"{title}\n\n{text}\n\n{link}\n\nUnsubscribe: https://app.example.com/mail?off=1\n"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in mail["BodyHtml"]
    assert 'href="https://app.example.com/billing?of=&quot;acme&quot;"' in mail["BodyHtml"]
    assert "<script" not in mail["BodyHtml"]
    assert "<b>" not in mail["BodyHtml"]


@pytest.mark.parametrize(("length", "headers"), [(993, 3), (994, 1), (1900, 1)])
def test_a_link_too_long_for_a_header_stands_in_the_text(way: Way, length: int, headers: int) -> None:
    """SES takes 995 characters, and its client's own check says the same: the mail goes out in any case."""
    item = way.notify(title=f"Link of {length}", once="link")
    link = "https://app.example.com/mail?token=".ljust(length, "a")
    way.owner.answer["unsubscribe"] = link

    mail = mail_of(item, links="", unsubscribe=link)
    assert len(mail.headers) == headers
    model = ses(way.aws.endpoint_url).meta.service_model.operation_model("SendEmail").input_shape
    asked = _request(mail, Recipient(address=ADDRESS), sender=f"notifications@{DOMAIN}", tag="t")
    assert ParamValidator().validate(asked, model).generate_report() == ""
    assert way.tried(item).outcome is Outcome.ACCEPTED
    assert f"Unsubscribe: {link}" in way.sent(f"Link of {length}")[0]["BodyText"]


def test_the_owner_of_addresses_is_asked_and_nothing_of_it_is_kept(way: Way) -> None:
    """By a request that any library of Standard Webhooks verifies; no record, fact or outcome has the address."""
    item = way.notify(title="Kept nowhere")
    result = way.tried(item)

    [(body, headers)] = way.owner.asked
    asked = Verifier(addresses_secret(KEY)).verify(body, {**headers, "webhook-timestamp": headers["webhook-timestamp"]})
    assert asked == {"user_id": "ada", "workspace_id": "ws_acme", "topic": "billing.payment_failed"}
    kept = [*way.store.scan(Table.RECORDS), *way.store.scan(Table.EVENTS), result]
    assert result.outcome is Outcome.ACCEPTED
    assert ADDRESS not in str(kept)


def test_what_ses_refuses_is_tried_again_without_its_words(way: Way) -> None:
    """Its text names addresses; the claim is given back, so that the next attempt may send."""
    item = way.notify(title="Refused at first")
    way.domain = "unverified.example.net"
    refused = way.tried(item)

    assert (refused.outcome, refused.fields["error"]) == (Outcome.FAILED, "SES took nothing: MessageRejected")
    way.domain = DOMAIN
    assert way.tried(item).outcome is Outcome.ACCEPTED
    assert len(way.sent("Refused at first")) == 1


def test_a_mail_that_may_have_gone_is_never_sent_twice(way: Way, owner: Owner) -> None:
    """SES takes the request and never answers: the message waits while the claim is young, then it is a reject."""
    item = way.notify(title="Perhaps")
    nobody = silent()
    with nobody as endpoint:
        way.endpoint = endpoint
        lost = way.tried(item)
    way.endpoint = ""

    assert (lost.outcome, nobody.taken) == (Outcome.FAILED, 1)
    assert str(lost.fields["error"]).startswith("SES did not say whether it took a mail")
    assert way.tried(item).outcome is Outcome.FAILED
    way.now += CLAIM
    late = way.tried(item)
    assert (late.outcome, late.fields["reason"]) == (Outcome.REJECTED, "mail_uncertain")
    assert (way.sent("Perhaps"), len(owner.asked)) == ([], 1)


def test_ses_that_is_not_reached_has_taken_nothing(way: Way) -> None:
    """The next attempt sends."""
    item = way.notify(title="Later")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        way.endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert way.tried(item).fields["error"] == "SES took nothing: not_reached"
    way.endpoint = ""
    assert way.tried(item).outcome is Outcome.ACCEPTED


def test_what_nobody_wants_is_not_mailed(way: Way) -> None:
    """Switched off on the way, too old, or in the app only; nobody is asked for an address."""
    item = way.notify(title="Not wanted")
    off = SetPreference(user_id="ada", topic="billing.payment_failed", channels={"email": False})
    perform(way.store, US, off, now=way.now)
    assert way.tried(item).fields["reason"] == "switched_off"
    on = SetPreference(user_id="ada", topic="billing.payment_failed", channels={"email": True})
    perform(way.store, US, on, now=way.now)
    assert way.tried(way.notify(topic="exports.ready", title="In the app")).fields["reason"] == "gone"
    assert way.tried({**item, "sk": "NOTIFICATION#01JD8Q2Z5K3W9V7T6R4N1M0XYZ"}).fields["reason"] == "gone"
    way.now += LATEST + timedelta(seconds=1)
    assert way.tried(item).fields["reason"] == "too_late"
    assert (way.owner.asked, way.sent("Not wanted")) == ([], [])


def test_who_has_left_is_not_told_of_the_workspace(way: Way) -> None:
    """Fifteen hours may lie between two attempts. Services may tell people who are no members, but not of a workspace
    that was deleted; what is about no workspace concerns neither."""
    everywhere = SetPreference(user_id="ada", topic="exports.ready", channels={"email": True}, everywhere=True)
    perform(way.store, US, everywhere, now=way.now)
    perform(way.store, US, AddMember(user_id="bob", role=Role.ADMIN), now=way.now)
    ours, theirs = way.notify(title="Of Acme"), way.notify(topic="exports.ready", title="Of a service")
    invited = way.notify(topic="member.invited", title="Come back")
    perform(way.store, US, RemoveMember(user_id="ada"), now=way.now)

    assert (way.tried(ours).outcome, way.tried(ours).fields["reason"]) == (Outcome.IGNORED, "no_member")
    assert [way.tried(one).outcome for one in (theirs, invited)] == [Outcome.ACCEPTED] * 2
    again = way.notify(topic="exports.ready", title="Of a service again")
    nowhere = Notify(user_id="ada", topic="exports.ready", title="Of no workspace")
    alone = perform(way.store, service("", "tests"), nowhere, now=way.now)
    perform(way.store, US, UpdateWorkspace(status="deleted"), now=way.now)
    assert way.tried(again).fields["reason"] == "workspace_closed"
    assert way.tried(way.item(alone.id)).outcome is Outcome.ACCEPTED
    assert (way.sent("Of Acme"), way.sent("Of a service again")) == ([], [])


@pytest.mark.parametrize(("status", "outcome"), [(404, Outcome.IGNORED), (410, Outcome.IGNORED), (500, Outcome.FAILED)])
def test_no_address_is_no_failure_and_an_outage_is_one(way: Way, status: int, outcome: Outcome) -> None:
    """Who has none gets none; what the service cannot say now is asked again, and nothing was claimed."""
    item = way.notify(title="Without an address")
    way.owner.status = status

    assert way.tried(item).outcome is outcome
    assert way.item(item["notification_id"]) == item


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"email": 5},
        {"email": "ada@example.org, eve@example.org"},
        {"email": "ada@example.org\r\nBcc: eve@example.org"},
        {"email": ADDRESS, "unsubscribe": "https://app.example.com/\r\nBcc: eve@example.org"},
        {"email": ADDRESS, "unsubscribe": "javascript:alert(1)"},
    ],
)
def test_an_answer_that_cannot_be_used_sends_nothing(way: Way, answer: dict[str, Any]) -> None:
    """Also one that would be more than one recipient or header; of what it says nothing is told."""
    item = way.notify(title="Unusable")
    way.owner.answer = answer
    result = way.tried(item)

    assert result.outcome is Outcome.FAILED
    assert "eve" not in str(result)
    assert way.sent("Unusable") == []


def test_a_notification_that_is_read_meanwhile_is_marked_all_the_same(way: Way) -> None:
    """Its person reads it while the mail is on its way."""
    item = way.notify(title="Read meanwhile")
    mark_read(way.store, service("ws_acme", "tests"), [item["notification_id"]], now=way.now, user_id="ada")

    assert [way.tried(item).outcome for _ in range(2)] == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert way.item(item["notification_id"])["unread"] is False


def test_a_batch_begins_no_mail_when_its_time_is_over(way: Way) -> None:
    """A claim whose answer the function's end cuts off would be a mail that nobody sends."""
    item = way.notify(title="No time")
    clock = iter([0.0, 60.0])

    assert way.tried(item, monotonic=lambda: next(clock)).outcome is Outcome.FAILED
    assert way.item(item["notification_id"]) == item


def test_only_notifications_are_mailed(way: Way) -> None:
    """Another change in this queue is a mistake of a rule, and is kept as a reject."""
    item = way.notify(title="Another kind")
    assert way.tried(item, "billing").outcome is Outcome.REJECTED
    assert way.owner.asked == []


class silent:  # noqa: N801  # used as a function
    """An address that takes a request and closes without a word."""

    def __init__(self) -> None:
        self.taken = 0

    def __enter__(self) -> str:
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                taken, _ = self._socket.accept()
            except OSError:
                return
            with taken:
                self.taken += 1
                taken.recv(65_536)

    def __exit__(self, *_: object) -> None:
        self._socket.close()
