"""HTTP API payload 2.0 with the claims of a verified token → the console → HTML, by Mangum's adapter to ASGI."""

from __future__ import annotations

import sys
import tarfile
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

from mangum import Mangum

from nilometer.aws.clients import client
from nilometer.aws.secrets import AuditKeys
from nilometer.lambdas import count, handling, variables

_PACKED = Path(__file__).parents[3] / "packed.tar.gz"
_UNPACKED = tempfile.TemporaryDirectory(prefix="nilometer-")
if _PACKED.exists():
    # Lambda takes 250 MB unpacked: what `src/Makefile` packed is read from the function's own disk.
    with tarfile.open(_PACKED) as packed:
        packed.extractall(_UNPACKED.name, filter="data")
    sys.path.append(_UNPACKED.name)


@handling
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A page, a part of one, or an action. Who asks is what API Gateway's authorizer verified, and nobody else."""
    answer = dict(_ADAPTER.serve(event, context))
    status = int(answer["statusCode"])
    count("console", ["failed" if status >= 500 else "refused" if status >= 400 else "accepted"])
    return answer


class ConsoleAdapter:
    """Made at the first request, for it asks for two secrets."""

    @cached_property
    def serve(self) -> Mangum:
        """The console, as Lambda calls it."""
        from nilometer.console.app import application  # noqa: PLC0415  # reads the lake, which may have been packed
        from nilometer.console.http.guard import Seal  # noqa: PLC0415  # the same
        from nilometer.console.http.visitor import ClaimsGate  # noqa: PLC0415  # the same
        from nilometer.lambdas.http.stack import place  # noqa: PLC0415  # the same

        origin, embedders, key = variables("CONSOLE_ORIGIN", "PORTAL_ORIGINS", "CONSOLE_KEY_ARN")
        [secret, *_] = AuditKeys.stored(client("secretsmanager"), arn=key).current()
        of_stack = place()
        served = application(
            of_stack,
            gate=ClaimsGate(of_stack.store),
            hosts=(),
            origins=(origin,),
            embedders=() if embedders == "none" else embedders.split(),
            seal=Seal(secret.encode()),
            streams=False,
        )
        return Mangum(served, lifespan="off")


_ADAPTER = ConsoleAdapter()
