"""Counted runs of a stack, as the demo counts them, for what is computed from them: costs and bills."""

from __future__ import annotations

from typing import Any

from nilometer.local.demo.cost import Run
from nilometer.local.plane.charges import Charge
from nilometer.local.plane.counting import Counts
from nilometer.local.plane.deployed import Deployment, Function
from nilometer.local.stack.status import FunctionStatus
from nilometer.local.workers.pool import Used


def name(logical: str) -> str:
    """As CloudFormation names what the template calls `logical`."""
    return f"nilometer-{logical}-1A2B3C"


def charge(service: str, operation: str, resource: str = "", *, caller: str = "", **amounts: Any) -> Charge:
    """Names that begin with a capital letter are logical ones, and become physical."""
    caller, resource = (name(one) if one[:1].isupper() else one for one in (caller, resource))
    return Charge(caller=caller, service=service, operation=operation, resource=resource, **amounts)


def run(*charges: tuple[Charge, int], log_bytes: int = 0, **used: dict[str, Used]) -> Run:
    """Functions of 1 GB; `used` is by function and by source."""
    functions = {name(function): {_source(s): one for s, one in sources.items()} for function, sources in used.items()}
    return Run(
        counts=Counts(requests=0, read=0, written=0, charges=charges),
        functions={
            function: FunctionStatus(errors=0, restarts=0, used=sources, log_bytes=log_bytes)
            for function, sources in functions.items()
        },
        deployment=Deployment(
            functions={
                function: Function(name=function, arn="", handler="", timeout=1, memory=1024, environment={})
                for function in functions
            },
            queues=(),
            dead_letters=frozenset(),
            queue_mappings=(),
            stream_mappings=(),
            routes=(),
            schedules=(),
        ),
    )


def _source(source: str) -> str:
    return name(source) if source[0].isupper() else source
