"""`--api-key-env`, `--account`, `--api-base`: a client of Stripe's API, and whose objects it sees."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nilometer.domain.stripe.event import OWN_ACCOUNT, Scope
from nilometer.errors import Misconfigured

if TYPE_CHECKING:
    from nilometer.stripe_api.client import StripeApi

_Command = TypeVar("_Command", bound=Callable[..., Any])


def stripe_options(command: _Command) -> _Command:
    """Hands the command an `api` and the `scope` of its key. A key on the command line would stay in the history."""

    @click.option(
        "--api-key-env",
        metavar="NAME",
        default="STRIPE_API_KEY",
        show_default=True,
        help="The environment variable with a key of Stripe's API that has read access.",
    )
    @click.option("--account", metavar="ACCT", help="A Connect account; its objects only.")
    @click.option("--api-base", metavar="URL", envvar="STRIPE_API_BASE", help="Where Stripe's API is; for tests.")
    @functools.wraps(command)
    def with_stripe(*args: Any, api_key_env: str, api_base: str | None, account: str | None, **kwargs: Any) -> Any:
        api, scope = _client(api_key_env, api_base, account)
        return command(*args, api=api, scope=scope, **kwargs)

    return with_stripe  # type: ignore[return-value]  # functools.wraps forgets the type


def _client(variable: str, base: str | None, account: str | None) -> tuple[StripeApi, Scope]:
    from nilometer.stripe_api.client import StripeApi, is_live

    key = os.environ.get(variable)
    if not key:
        raise Misconfigured(f"set {variable} to a key of Stripe's API that may read (rk_... or sk_...)")
    scope = Scope(account=account or OWN_ACCOUNT, livemode=is_live(key))
    return StripeApi(key, base_url=base, account=account), scope
