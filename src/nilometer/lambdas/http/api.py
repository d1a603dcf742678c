"""HTTP API payload 2.0 → the route table → JSON or a problem, by Powertools' router."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

from nilometer.aws.clients import client, later
from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import Bus
from nilometer.aws.secrets import AuditKeys
from nilometer.flows.api.answering import ApiPace, answer
from nilometer.flows.api.problem import ApiAnswer, ApiProblem, answer_of, failure
from nilometer.flows.api.route import ApiMeans, ApiRequest, ApiRoute
from nilometer.flows.api.routes import ROUTES
from nilometer.flows.notices.webhooks import WebhookMeans
from nilometer.flows.usage.known import Known
from nilometer.lambdas import count, handling, logger, variables

CORS = {"access-control-allow-origin": "*"}
PREFLIGHT = {
    **CORS,
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "authorization, content-type, idempotency-key",
    "access-control-max-age": "600",
}
"""A page of any origin may ask with a member's session, and with nothing else: the answer to an API key, which belongs
to no page, is hidden from it. No cookie is read, so an origin gives no right."""


@handling
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A request of a service or of a member's page. A failure of ours is 500, logged by its class alone."""
    return _router().resolve(event, context)


def router(means: ApiMeans) -> APIGatewayHttpResolver:
    """With every route of the table; also for a test that has the means in its process."""
    made, pace = APIGatewayHttpResolver(), ApiPace()
    for route in ROUTES:
        rule = route.path.replace("{", "<").replace("}", ">")
        made.route(rule, method=[route.method])(_serving(route, means, pace, made))
    made.not_found(_not_found_by(made))
    return made


def _serving(
    route: ApiRoute, means: ApiMeans, pace: ApiPace, routed: APIGatewayHttpResolver
) -> Callable[..., Response[str]]:
    def serve(**path: str) -> Response[str]:
        return _served(route, path, means, pace, routed.current_event)

    return serve


def _served(route: ApiRoute, path: Mapping[str, str], means: ApiMeans, pace: ApiPace, event: Any) -> Response[str]:
    request = ApiRequest(
        path=path,
        query=event.query_string_parameters or {},
        headers=event.headers,
        body=_body(event),
        now=datetime.now(UTC),
    )
    try:
        answered = answer(route, request, means, pace)
    except Exception as error:  # noqa: BLE001  # whatever it is, who asks gets an answer without its text
        logger.error("api.failed", extra={"route": route.name, "reason": type(error).__name__})
        answered = failure()
    if request.headers.get("authorization", "").partition(" ")[2].startswith("nil_session_"):
        answered = replace(answered, headers={**answered.headers, **CORS})
    count("api", ["failed" if answered.status >= 500 else "refused" if answered.status >= 400 else "accepted"])
    return _response(answered)


def _body(event: Any) -> bytes:
    """As it was sent: what is no text comes in base64."""
    body = event.body or ""
    return base64.b64decode(body) if event.is_base64_encoded else body.encode(errors="replace")


def _not_found_by(routed: APIGatewayHttpResolver) -> Callable[[NotFoundError], Response[str]]:
    def answered(_error: NotFoundError) -> Response[str]:
        if routed.current_event.http_method == "OPTIONS":
            return Response(status_code=204, body="", headers=PREFLIGHT)
        return _not_found()

    return answered


def _not_found() -> Response[str]:
    return _response(answer_of(ApiProblem(404, "unknown_route", "there is no such route; see /v1/openapi.json")))


def _response(answered: ApiAnswer) -> Response[str]:
    return Response(
        status_code=answered.status,
        content_type=answered.media_type,
        body=answered.body.decode(),
        headers=dict(answered.headers),
    )


@cache
def _router() -> APIGatewayHttpResolver:
    records, events, bus = variables("RECORDS_TABLE", "EVENTS_TABLE", "BUS_NAME")
    store = Store(client("dynamodb"), records=records, events=events)
    return router(ApiMeans(store, Bus(client("events"), name=bus), Known(store), _webhooks()))


def _webhooks() -> WebhookMeans:
    """Of a stack that sends none: what needs the key is refused."""
    key, loopback = variables("WEBHOOK_KEY_ARN", "WEBHOOK_LOOPBACK")
    if key == "none":
        return WebhookMeans()
    return WebhookMeans.of(AuditKeys.stored(later("secretsmanager"), arn=key), loopback=loopback == "true")
