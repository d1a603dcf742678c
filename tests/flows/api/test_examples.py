"""The examples of the description: each fits its schema, and all of them run, one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2
import jsonschema
import pytest
from tests.support.project import EVENTS

from nilometer import Invite, OpenSession, perform
from nilometer.client.testing.fake import URL, FakeStack
from nilometer.domain.access.token import IssueToken, TokenPurpose
from nilometer.domain.acts.act import service
from nilometer.domain.acts.roles import Role
from nilometer.domain.acts.secret import hash_of
from nilometer.domain.people.attachment import Attach, AttachmentPurpose
from nilometer.domain.store.times import rfc3339
from nilometer.flows.api.description.examples import BODIES, PARAMETERS, WORKSPACE
from nilometer.flows.api.description.openapi import document
from nilometer.flows.api.routes import ROUTES

BY_NAME = {route.name: route for route in ROUTES}
WHOLE = document(ROUTES)
OPERATIONS = {one["operationId"]: one for path in WHOLE["paths"].values() for one in path.values()}


class Story:
    """A stack in memory, and the answers so far."""

    def __init__(self) -> None:
        self.fake = FakeStack()
        self.key = self.fake.key()
        self.answers: dict[str, Any] = {}

    def ask(self, name: str, body: Any) -> tuple[int, Any]:
        route = BY_NAME[name]
        query = {one: PARAMETERS[one] for one in route.query if one in PARAMETERS}
        request = httpx2.Request(
            route.method,
            URL + route.path.format(**PARAMETERS),
            params=query,
            headers={"authorization": f"Bearer {self.key}"},
            content=b"" if body is None else json.dumps(body).encode(),
        )
        answered = self.fake.transport.handle_request(request)
        return answered.status_code, json.loads(answered.content)

    def deed(self, deed: Any) -> Any:
        return perform(self.fake.store, service(WORKSPACE, "tests"), deed, now=datetime.now(UTC))

    def notified(self) -> dict[str, Any]:
        """The id of the notification about the workspace."""
        return {"notification_id": self.answers["notify"]["id"]}

    def notified_anywhere(self) -> dict[str, Any]:
        """The id of the notification about none."""
        return {"notification_id": self.answers["notify_anywhere"]["id"]}


def invited(story: Story, name: str) -> Mapping[str, Any]:
    known = {"invitation_id": BODIES[name]["invitation_id"], "token_hash": hash_of(name)}
    story.deed(Invite(email=f"{name}@example.com", role=Role.VIEWER, **known))
    return {}


def opened(story: Story) -> Mapping[str, Any]:
    story.deed(OpenSession(user_id="user_bob", session_hash=BODIES["revoke_session"]["session_hash"]))
    return {}


def issued(story: Story) -> Mapping[str, Any]:
    body = BODIES["use_token"]
    story.deed(IssueToken(purpose=TokenPurpose(body["purpose"]), user_id="user_bob", token_hash=body["token_hash"]))
    return {}


def attached(story: Story) -> Mapping[str, Any]:
    body = BODIES["remove_attachment"]
    story.deed(
        Attach(purpose=AttachmentPurpose(body["purpose"]), sha256=body["sha256"], size=1, content_type="image/png")
    )
    return {}


def billed(story: Story) -> Mapping[str, Any]:
    event = json.loads((EVENTS / "stripe" / "customer.subscription.created.json").read_text())
    event["data"]["object"]["metadata"] = {"workspace_id": WORKSPACE}
    story.fake.stripe(event)
    return {}


BEFORE: Mapping[str, Callable[[Story], Mapping[str, Any]]] = {
    "record_events": lambda _: {"time": rfc3339(datetime.now(UTC))},
    "decline_invitation": lambda story: invited(story, "decline_invitation"),
    "revoke_invitation": lambda story: invited(story, "revoke_invitation"),
    "revoke_session": opened,
    "use_token": issued,
    "remove_attachment": attached,
    "read_notification": Story.notified,
    "read_notification_anywhere": Story.notified_anywhere,
    "archive_notification": Story.notified,
    "archive_notification_anywhere": Story.notified_anywhere,
    "get_billing": billed,
}
"""What an example builds on that no example makes, and what of it is another at each time."""


def test_every_route_has_an_example() -> None:
    """And no example is of a route that is gone."""
    assert set(BODIES) == set(BY_NAME)
    assert [name for name, body in BODIES.items() if (body is None) != (BY_NAME[name].body is None)] == []


@pytest.mark.parametrize("name", [name for name, body in BODIES.items() if body is not None])
def test_an_example_fits_the_description(name: str) -> None:
    """By the schema that stands beside it, and with nothing that the schema does not know."""
    content = OPERATIONS[name]["requestBody"]["content"]["application/json"]
    schema = {**content["schema"], "components": WHOLE["components"]}

    jsonschema.Draft202012Validator(schema).validate(content["example"])


def test_the_examples_run_one_after_the_other() -> None:
    """Each is answered with success, and does what it says; what was sent is counted."""
    story = Story()
    for name, body in BODIES.items():
        other = BEFORE[name](story) if name in BEFORE else {}
        sent = [{**one, **other} for one in body] if isinstance(body, list) else {**body, **other} if body else body
        status, story.answers[name] = story.ask(name, sent)
        assert status == 200, (name, story.answers[name])

    told = story.answers
    assert (told["record_events"]["accepted"], told["append_rows"]["accepted"]) == (1, 2)
    assert told["get_usage"]["items"][0]["used"] == "1"
    assert (told["check_limit"]["allowed"], told["reserve_limit"]["granted"]) == (True, True)
    assert told["evaluate_flag"]["value"] is True
    assert [one["user_id"] for one in told["list_members"]["items"]] == ["user_ada", "user_bob"]
    assert [one["status"] for one in told["list_invitations"]["items"]] == ["pending"]
    assert len(told["list_notifications"]["items"]) >= 1
    assert [one["policy"] for one in told["list_policies"]["items"]] == ["terms"]
    assert told["get_billing"]["workspace"] == WORKSPACE
