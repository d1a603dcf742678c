"""A request of the API as a value, and the result of its answer: the part that needs no network."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from nilometer.client.buffer import new_id
from nilometer.client.problem import ProblemUnavailable, error_of
from nilometer.errors import NilometerError, Unavailable

ATTEMPTS = 4
SLOWEST = 5.0  # seconds between two attempts
NEW_EACH_TIME = frozenset({"notify", "report_security", "resend_invitation"})
"""Actions that say something new each time they are asked."""
AGAIN = frozenset({429, 502, 503, 504})

T = TypeVar("T")
_encode = msgspec.json.Encoder(enc_hook=str).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest(Generic[T]):
    """`path` is written with `at`. `safe`: the same request again has one effect, as it only reads or carries an id."""

    method: str
    path: str
    answer: type[T]
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    safe: bool = True

    @property
    def content(self) -> bytes | None:
        """The body as JSON; decimals and times as text."""
        return None if self.body is None else _encode(self.body)


def at(template: str, *parts: str) -> str:
    """`at("/v1/workspaces/{}/usage", workspace_id)`, each part escaped. `ValueError` for an empty one."""
    if not all(parts):
        raise ValueError(f"a part of {template} is empty")
    return template.format(*(quote(part, safe="") for part in parts))


def action(name: str, workspace_id: str | None, fields: Mapping[str, Any]) -> ClientRequest[Any]:
    """A deed by its name, in one workspace or in all."""
    path = at("/v1/workspaces/{}/actions/{}", workspace_id, name) if workspace_id else at("/v1/actions/{}", name)
    head = {"idempotency-key": new_id()}
    return ClientRequest(
        method="POST", path=path, body=dict(fields), answer=object, headers=head, safe=name not in NEW_EACH_TIME
    )


def read(path: str, parts: Sequence[str], answer: type[T], *, body: Any = None, **query: str) -> ClientRequest[T]:
    """What changes nothing; by POST where it has a body. Empty parts of the query are left out."""
    return ClientRequest(
        method="GET" if body is None else "POST",
        path=at(path, *parts),
        answer=answer,
        body=body,
        query={name: value for name, value in query.items() if value},
    )


def answer_of(request: ClientRequest[T], status: int, content: bytes) -> T:
    """The answer as the type that the request names, or its error."""
    if status >= 400:
        raise error_of(status, _problem(content))
    try:
        return msgspec.json.decode(content, type=request.answer)
    except msgspec.MsgspecError as error:
        raise ProblemUnavailable(status, "unreadable", f"the answer to {request.method} cannot be read") from error


def no_answer(kind: str) -> ProblemUnavailable:
    """Nobody answered, and whether the request arrived is not known."""
    return ProblemUnavailable(0, "no_answer", f"the API does not answer ({kind})")


def pause(request: ClientRequest[Any], error: NilometerError, attempt: int) -> float | None:
    """Seconds until the next attempt; `None` when there is none."""
    status = getattr(error, "status", None)
    again = isinstance(error, Unavailable) and (status == 0 or status in AGAIN)
    if not request.safe or not again or attempt >= ATTEMPTS:
        return None
    return float(min(0.1 * 2**attempt, SLOWEST)) * random.uniform(0.5, 1)


def _problem(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeError):
        return None
