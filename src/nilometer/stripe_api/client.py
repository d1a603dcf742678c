"""Stripe's API through the official SDK: objects and lists as plain JSON, dated by Stripe's own clock.

Slower than Stripe's limits on purpose, and slower still when refused. Source: https://docs.stripe.com/rate-limits.
"""

from __future__ import annotations

import contextlib
import copy
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import stripe

from nilometer.domain.stripe.event import FEATURES, SUMMARY
from nilometer.domain.stripe.fetchable import COLLECTIONS
from nilometer.errors import Misconfigured, NotPermitted, Rejected, Unavailable
from nilometer.stripe_api.meter_events import StripeMeterEvents
from nilometer.stripe_api.pace import Pace

REQUESTS_PER_SECOND = 15  # of 25 for an endpoint; the rest is left to the product
ATTEMPTS = 6
PAGE = 100
_MISSING = {"resource_missing", "not_found"}  # of v1 and of v2
_NO_ACCOUNT = {"account_invalid"}  # Source: https://docs.stripe.com/error-codes

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StripeAnswer:
    """`object` is None for 404. `second` is not later than the moment at which Stripe looked."""

    object: Object | None
    second: int


@dataclass(frozen=True, slots=True)
class StripePage:
    """One page of a list, at most 100 objects. `second` is as in `StripeAnswer`; `part` is the name of the list where a
    type has several."""

    objects: list[Object]
    second: int
    part: str = ""


class StripeApi:
    """Safe to share between threads. `account` names a Connect account; `of` gives the client of another one."""

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str | None = None,
        account: str | None = None,
        requests_per_second: float = REQUESTS_PER_SECOND,
    ) -> None:
        addresses: Any = {"api": base_url} if base_url else {}
        self._client = stripe.StripeClient(api_key, base_addresses=addresses, max_network_retries=0)
        self.account = account
        self._pace = Pace(requests_per_second)

    @property
    def requests(self) -> int:
        """Of all accounts."""
        return self._pace.turns

    @property
    def _options(self) -> dict[str, Any]:
        return {"stripe_account": self.account} if self.account else {}

    def of(self, account: str) -> StripeApi:
        """The same key within the same pace, for the objects of a Connect account."""
        other = copy.copy(self)
        other.account = account
        return other

    @property
    def meter_events(self) -> StripeMeterEvents:
        """Sends usage with the same key, to the key's own account and outside the pace."""
        return StripeMeterEvents(self._client)

    def fetch(self, object_type: str, object_id: str) -> StripeAnswer:
        """The object as it is now, whole: lists inside it are followed. `Rejected("not_fetchable")` for other types.

        `NotPermitted` when the key may not read the type, `Misconfigured` when Stripe refuses it for the whole account;
        `Unavailable` when it does not answer or keeps refusing.
        """
        if object_type == SUMMARY:
            return self._summary(object_id)
        if object_type == FEATURES:
            return self._features()
        if object_type not in COLLECTIONS:
            raise Rejected("not_fetchable", f"objects of type {object_type} cannot be fetched by id")
        found, second = self._get(f"/v1/{COLLECTIONS[object_type]}/{_part(object_id)}")
        return StripeAnswer(self._whole(found) if found else None, second)

    def pages(self, object_type: str, after: str | None = None, **params: Any) -> Iterator[StripePage]:
        """All objects of a type, newest first, a hundred a page, from the object `after` on; entitlements a customer
        each, features as one; active prices before the others, without inline ones. `Rejected` when `after` is gone."""
        if after:
            params = {"starting_after": after, **params}
        if object_type == SUMMARY:
            yield from self._summaries(params)
            return
        if object_type == FEATURES:
            if after:
                return
            answer = self._features()
            yield StripePage([answer.object] if answer.object else [], answer.second)
            return
        if object_type == "subscription":
            params = {"status": "all", "expand": ["data.discounts", "data.items.data.discounts"], **params}
        if object_type == "price":
            yield from self._prices(after, params)
            return
        for page in self._pages(f"/v1/{COLLECTIONS[object_type]}", params):
            yield StripePage([self._whole(found) for found in page.objects], page.second)

    def events(self, *, since: int, after: str | None = None) -> Iterator[StripePage]:
        """Stripe keeps events for thirty days; newest first, from `after` (an event id) on."""
        cursor = {"starting_after": after} if after else {}
        whose = {"account": self.account} if self.account else {}  # an account's own list need not say it
        for page in self._pages("/v1/events", {"created": {"gte": since}, **cursor}):
            yield StripePage([{**event, **whose} for event in page.objects], page.second)

    def thin_event(self, event_id: str) -> Object | None:
        """A thin event with its `data`, which its webhook has not; None when Stripe keeps it no longer."""
        return self._get(f"/v2/core/events/{_part(event_id)}")[0]

    def webhook_endpoints(self) -> Iterator[Object]:
        """Newest first. Stripe does not send their secrets."""
        for page in self._pages("/v1/webhook_endpoints", {}):
            yield from page.objects

    def create_webhook_endpoint(self, *, idempotency_key: str, **params: Any) -> Object:
        """With its `secret`, which Stripe sends only here; with the same key, the same answer again for a day."""
        return self._write("/v1/webhook_endpoints", idempotency_key=idempotency_key, **params)

    def update_webhook_endpoint(self, endpoint_id: str, **params: Any) -> Object:
        """`metadata` is merged into what is there."""
        return self._write(f"/v1/webhook_endpoints/{endpoint_id}", **params)

    def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """One that does not exist counts as deleted."""
        self._insist("delete", f"/v1/webhook_endpoints/{endpoint_id}", {})

    def _summary(self, customer_id: str) -> StripeAnswer:
        """A customer's entitlements in the shape of the event, without its limit of ten; none of a deleted one."""
        pages = list(self._pages("/v1/entitlements/active_entitlements", {"customer": customer_id}))
        listed = [found for page in pages for found in page.objects]
        summary = {"object": SUMMARY, "customer": customer_id, "entitlements": {"data": listed, "has_more": False}}
        return StripeAnswer(summary, min(page.second for page in pages))

    def _features(self) -> StripeAnswer:
        pages = list(self._pages("/v1/entitlements/features", {}))
        listed = [found for page in pages for found in page.objects]
        return StripeAnswer(
            {"object": FEATURES, "id": FEATURES, "features": listed}, min(page.second for page in pages)
        )

    def _summaries(self, params: Mapping[str, Any]) -> Iterator[StripePage]:
        """Of all customers, at a request each; none when no feature exists that a customer could have."""
        features, _ = self._get("/v1/entitlements/features", limit=1)
        if not (features or {}).get("data"):
            return
        for page in self._pages("/v1/customers", params):
            answers = [self._summary(str(customer["id"])) for customer in page.objects]
            yield StripePage([answer.object for answer in answers if answer.object], page.second)

    def _prices(self, after: str | None, params: Mapping[str, Any]) -> Iterator[StripePage]:
        """Of its two lists, because Stripe lists active ones alone when it is not asked for the others, and inline ones
        in neither. Source: https://docs.stripe.com/api/prices/list."""
        last = self._get(f"/v1/prices/{_part(after)}")[0] if after else {"active": True}
        if last is None:
            raise Rejected("stripe_refused", f"Stripe has no price {after} any more; list from the beginning")
        if last["active"]:
            for page in self._pages("/v1/prices", {**params, "active": "true"}):
                yield replace(page, part="active")
            params = {name: value for name, value in params.items() if name != "starting_after"}
        for page in self._pages("/v1/prices", {**params, "active": "false"}):
            yield replace(page, part="archived")

    def _whole(self, found: Object) -> Object:
        items = found.get("items")
        if not isinstance(items, dict) or not items.get("has_more"):
            return found
        pages = self._pages("/v1/subscription_items", {"subscription": found["id"]})
        return {**found, "items": {**items, "data": [one for page in pages for one in page.objects], "has_more": False}}

    def _pages(self, path: str, params: Mapping[str, Any]) -> Iterator[StripePage]:
        cursor: dict[str, Any] = {}
        while True:
            found, second = self._get(path, **{"limit": PAGE, **params, **cursor})
            objects = list((found or {}).get("data", ()))
            yield StripePage(objects, second)
            if not objects or not (found or {}).get("has_more"):
                return
            cursor = {"starting_after": objects[-1]["id"]}

    def _get(self, path: str, **params: Any) -> tuple[Object | None, int]:
        return self._ask("get", path, params)

    def _write(self, path: str, **params: Any) -> Object:
        found = self._insist("post", path, params)
        if found is None:
            raise Rejected("stripe_refused", f"Stripe has nothing at {path} any more; list again")
        return found

    def _insist(self, method: str, path: str, params: Mapping[str, Any]) -> Object | None:
        """Tried again when an answer is lost: whoever writes here may write twice."""
        for attempt in range(ATTEMPTS - 1):
            with contextlib.suppress(Unavailable):
                return self._ask(method, path, params)[0]
            time.sleep(random.uniform(0, 0.1 * 2**attempt))
        return self._ask(method, path, params)[0]

    def _ask(self, method: str, path: str, params: Mapping[str, Any]) -> tuple[Object | None, int]:
        """None when Stripe says that the object, or the customer whose list it is, is missing: a 404 that knows no such
        URL says nothing of it."""
        said = f"{method.upper()} {path}"
        for attempt in range(ATTEMPTS):
            self._pace.wait()
            started = time.monotonic()
            try:
                response = self._client.raw_request(method, path, **self._options, **params)
                return dict(response.data), _second(response.headers, time.monotonic() - started)
            except stripe.RateLimitError:
                time.sleep(random.uniform(0, 0.5 * 2**attempt))
            except stripe.InvalidRequestError as error:
                if error.code in _MISSING and (error.http_status == 404 or error.param == "customer"):
                    return None, _second(error.headers or {}, time.monotonic() - started)
                raise Rejected("stripe_refused", f"Stripe refused {said}: {error.code}") from error
            except (stripe.AuthenticationError, stripe.PermissionError) as error:
                raise _refused(error, method, said) from error
            except stripe.StripeError as error:
                raise Unavailable(f"Stripe did not answer {said}: {type(error).__name__}") from error
        raise Unavailable(f"Stripe kept refusing {said} by its rate limit; try again later")


def _part(object_id: str) -> str:
    """In a path. Ids of products, plans and coupons are chosen by people, with any character."""
    return quote(object_id, safe="")


def _refused(error: stripe.StripeError, method: str, said: str) -> Misconfigured:
    """Only the key of a live connection to the account lacks a single permission."""
    code = error.error.code if error.error else None  # the SDK leaves `code` out of these errors
    kind = Misconfigured if isinstance(error, stripe.AuthenticationError) or code in _NO_ACCOUNT else NotPermitted
    access = "read" if method == "get" else "write"
    return kind(f"Stripe refused the API key for {said}; give it {access} access")


def is_live(api_key: str) -> bool:
    """Whether a key (`sk_live_...`, `rk_test_...`) is of live mode. Source: https://docs.stripe.com/keys."""
    return api_key[2:].startswith("_live_")


def _second(headers: Mapping[str, str], elapsed: float) -> int:
    """Stripe's clock before it looked: its answer's `Date`, less the whole round trip."""
    date = next((value for name, value in headers.items() if name.lower() == "date"), None)
    if date is None:
        raise Unavailable("Stripe's answer has no Date; it cannot be ordered among the events")
    answered: datetime = parsedate_to_datetime(date)
    return int(answered.timestamp() - elapsed)
