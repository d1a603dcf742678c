"""Errors as HTTP answers: RFC 9457 problem details, made from the error tree.

Nothing of a request's content, no token and no text of a library's own error is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from nilometer.errors import Cancelled, NilometerError, NotKnownYet, Refused, Rejected

MEDIA_TYPE = "application/problem+json"
TYPES = "https://github.com/nilometer/nilometer/blob/main/docs/api.md#"
TITLES: Mapping[int, str] = {
    400: "The request is not what the route takes",
    401: "The key is not valid",
    403: "The key may not do this",
    404: "There is no such route or record",
    409: "A rule forbids it",
    413: "The request is too large",
    429: "Too many requests with this key",
    500: "Our own failure",
    503: "Not now; send the same request again",
}


class ApiProblem(NilometerError):
    """A request that has no other answer. `reason` is a stable snake_case code; `error_code` is OpenFeature's."""

    def __init__(self, status: int, reason: str, detail: str, *, error_code: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.error_code = error_code


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """What a request is answered with."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def answer_of(error: NilometerError) -> ApiAnswer:
    """The problem that an error of ours is."""
    status, reason = _status(error)
    body = {
        "type": f"{TYPES}{reason.replace('_', '-')}",
        "title": TITLES[status],
        "status": status,
        "detail": str(error)[:500],
        "reason": reason,
    }
    if isinstance(error, ApiProblem) and error.error_code:
        body |= {"errorCode": error.error_code, "errorDetails": body["detail"]}
    headers = {"retry-after": "1"} if status in {429, 503} else {}
    return ApiAnswer(status, msgspec.json.encode(body), MEDIA_TYPE, headers)


def failure() -> ApiAnswer:
    """For an error that is none of ours."""
    return answer_of(ApiProblem(500, "internal", "the request failed for a reason of ours; it is logged"))


def _status(error: NilometerError) -> tuple[int, str]:
    match error:
        case ApiProblem():
            return error.status, error.reason
        case Rejected():
            return (413 if error.reason == "too_large" else 400), error.reason
        case Refused():
            return 409, "refused"
        case NotKnownYet():
            return 404, error.reason
        case Cancelled():
            return 503, "busy"
    return 503, "unavailable"
