"""Billing meter events. Source: https://docs.stripe.com/api/billing/meter-event/create."""

from __future__ import annotations

from typing import Any

import stripe

from nilometer.domain.usage.meter_event import MeterEvent
from nilometer.errors import Misconfigured, Rejected, Unavailable

HAS_IT = "already exists with identifier"


class StripeMeterEvents:
    """Of the account that the client's key belongs to."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    def send(self, event: MeterEvent) -> None:
        """Stripe's 400 about a known identifier is success: an earlier attempt got through."""
        params: Any = {
            "event_name": event.event_name,
            "identifier": event.identifier,
            "timestamp": event.timestamp,
            "payload": {"stripe_customer_id": event.customer_id, "value": format(event.value, "f")},
        }
        try:
            self._client.v1.billing.meter_events.create(params, {"max_network_retries": 2})
        except stripe.InvalidRequestError as error:
            if HAS_IT not in str(error):
                raise Rejected("meter_event_refused", f"Stripe refused {event.identifier}: {error.code}") from error
        except (stripe.AuthenticationError, stripe.PermissionError) as error:
            raise Misconfigured("Stripe refused the API key; check STRIPE_API_KEY") from error
        except stripe.StripeError as error:
            raise Unavailable(f"Stripe did not take {event.identifier}: {type(error).__name__}") from error
