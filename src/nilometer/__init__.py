"""Stripe webhooks and usage events into billing state, counters and an audit lake, exactly once.

What an internal service imports is here; every other module may move.

    import nilometer

    stack = nilometer.connect()
    event = nilometer.recorded("req_42", source="/services/inference", workspace_id="acme", meter="api_calls", ...)
    nilometer.publish(stack.bus(), [event])

A name is imported when it is first used: `import nilometer` alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nilometer.aws.dynamodb import Store as Store
    from nilometer.aws.eventbridge import Bus as Bus
    from nilometer.aws.landing import Landing as Landing
    from nilometer.aws.s3 import Objects as Objects
    from nilometer.domain.acts.act import Caller as Caller
    from nilometer.domain.acts.act import service as service
    from nilometer.domain.acts.roles import Permission as Permission
    from nilometer.domain.acts.roles import Role as Role
    from nilometer.errors import Cancelled as Cancelled
    from nilometer.errors import Misconfigured as Misconfigured
    from nilometer.errors import NilometerError as NilometerError
    from nilometer.errors import Refused as Refused
    from nilometer.errors import Rejected as Rejected
    from nilometer.errors import Unavailable as Unavailable
    from nilometer.flows.billing.reading import show_billing as show_billing
    from nilometer.flows.limits import own as own_limits  # noqa: F401
    from nilometer.flows.limits.reserving import release as release
    from nilometer.flows.limits.reserving import reserve as reserve
    from nilometer.flows.limits.thresholds import check as check
    from nilometer.flows.notices import notifications as notifications
    from nilometer.flows.operations.batch import create_meter as create_meter
    from nilometer.flows.operations.batch import update_meter as update_meter
    from nilometer.flows.operations.billing import link_customer as link_customer
    from nilometer.flows.people import access as access
    from nilometer.flows.people import attachments as attachments
    from nilometer.flows.people import flags as flags
    from nilometer.flows.people import members as members
    from nilometer.flows.people import onboarding as onboarding
    from nilometer.flows.people import policies as policies
    from nilometer.flows.people import security as security
    from nilometer.flows.people import workspaces as workspaces
    from nilometer.flows.people.acting import Issued as Issued
    from nilometer.flows.publish import datasets as datasets
    from nilometer.flows.publish.usage import publish as publish
    from nilometer.flows.publish.usage import recorded as recorded
    from nilometer.flows.publish.usage import snapshot as snapshot
    from nilometer.flows.publish.usage import voided as voided
    from nilometer.flows.recovery.overview import usage_of as usage_of
    from nilometer.flows.usage.known import Known as Known
    from nilometer.local.plane.connect import ServiceStack as ServiceStack
    from nilometer.local.plane.connect import connect as connect

__version__ = "0.1.0"

_HOMES = {
    "local.plane.connect": ("ServiceStack", "connect"),
    "aws.dynamodb": ("Store",),
    "aws.eventbridge": ("Bus",),
    "aws.landing": ("Landing",),
    "aws.s3": ("Objects",),
    "domain.acts.act": ("Caller", "service"),
    "domain.acts.roles": ("Permission", "Role"),
    "errors": ("Cancelled", "Misconfigured", "NilometerError", "Refused", "Rejected", "Unavailable"),
    "flows.publish.usage": ("publish", "recorded", "snapshot", "voided"),
    "flows.usage.known": ("Known",),
    "flows.limits.thresholds": ("check",),
    "flows.limits.reserving": ("release", "reserve"),
    "flows.recovery.overview": ("usage_of",),
    "flows.billing.reading": ("show_billing",),
    "flows.operations.batch": ("create_meter", "update_meter"),
    "flows.operations.billing": ("link_customer",),
    "flows.people.acting": ("Issued",),
}
_MODULES = {
    "access": "flows.people.access",
    "attachments": "flows.people.attachments",
    "datasets": "flows.publish.datasets",
    "flags": "flows.people.flags",
    "members": "flows.people.members",
    "notifications": "flows.notices.notifications",
    "onboarding": "flows.people.onboarding",
    "own_limits": "flows.limits.own",
    "policies": "flows.people.policies",
    "security": "flows.people.security",
    "workspaces": "flows.people.workspaces",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """PEP 562: the public name, from where it lives."""
    if name in _MODULES:
        found: Any = import_module(f"nilometer.{_MODULES[name]}")
    elif name in _HOME_OF:
        found = getattr(import_module(f"nilometer.{_HOME_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'nilometer' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_HOME_OF})
