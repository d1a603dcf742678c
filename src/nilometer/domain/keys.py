"""The key table: where every record and fact lives, on one page.

`records` holds what is true now (stream of new and old images), `events` every accepted fact once (TTL).
`gsi1` is the one overloaded sparse index of `records` (`gsi1pk`, `gsi1sk`).

| records                    | pk                                   | sk                             |
|----------------------------|--------------------------------------|--------------------------------|
| Workspace                  | WORKSPACE#ws                         | WORKSPACE                      |
| Billing record             | WORKSPACE#ws                         | BILLING                        |
| Usage counter              | WORKSPACE#ws                         | USAGE#meter#period_start#shard |
| Meter                      | METER#slug                           | METER                          |
| Stripe object register     | CUSTOMER#account#mode#cus            | SUBSCRIPTION#sub, INVOICE#in …  |
| Customer → workspace link  | CUSTOMER#account#mode#cus            | LINK                           |
| Register without customer  | OBJECT#account#mode#id               | PRODUCT#id, PRICE#id …          |

| events                     | pk                                   | sk                             |
|----------------------------|--------------------------------------|--------------------------------|
| Stripe event               | STRIPE#account#evt                   | FACT                           |
| Usage event                | USAGE#source#id                      | FACT                           |
| Operations event           | OPERATION#source#id                  | FACT                           |
| Reject                     | REJECT#flow#YYYY-MM-DD               | sha256 of the payload          |
| Usage waiting for its ws   | WAITING#ws                           | USAGE#source#id                |

`#` inside a variable part is escaped as `%23` (and `%` as `%25`), so that no value can pose as another key.
"""

from __future__ import annotations

from datetime import datetime

from nilometer.domain.times import rfc3339
from nilometer.domain.writes import Key

FACT = "FACT"


def part(value: str) -> str:
    """A variable part of a key, unable to contain the separator."""
    return value.replace("%", "%25").replace("#", "%23") if "#" in value or "%" in value else value


def workspace(workspace_id: str) -> Key:
    return Key(f"WORKSPACE#{part(workspace_id)}", "WORKSPACE")


def billing(workspace_id: str) -> Key:
    return Key(f"WORKSPACE#{part(workspace_id)}", "BILLING")


def counter(workspace_id: str, meter: str, start: str, shard: int) -> Key:
    """`start` is the period's start (RFC 3339), or `DAY#YYYY-MM-DD`'s own text for a UTC day."""
    return Key(f"WORKSPACE#{part(workspace_id)}", f"USAGE#{part(meter)}#{start}#{shard}")


def meter(slug: str) -> Key:
    return Key(f"METER#{part(slug)}", "METER")


def customer(account: str, livemode: bool, customer_id: str) -> str:
    """The partition of everything that belongs to one Stripe customer."""
    return f"CUSTOMER#{part(account)}#{mode(livemode)}#{part(customer_id)}"


def link(account: str, livemode: bool, customer_id: str) -> Key:
    return Key(customer(account, livemode, customer_id), "LINK")


def register(account: str, livemode: bool, object_type: str, object_id: str, customer_id: str | None) -> Key:
    """Under its customer, so that one query reads all that the billing record folds; else alone."""
    pk = (
        customer(account, livemode, customer_id)
        if customer_id
        else f"OBJECT#{part(account)}#{mode(livemode)}#{part(object_id)}"
    )
    return Key(pk, f"{object_type.upper().replace('.', '_')}#{part(object_id)}")


def mode(livemode: bool) -> str:
    return "live" if livemode else "test"


def stripe_event(account: str, event_id: str) -> Key:
    return Key(f"STRIPE#{part(account)}#{part(event_id)}", FACT)


def usage_event(source: str, event_id: str) -> Key:
    return Key(f"USAGE#{part(source)}#{part(event_id)}", FACT)


def operation(source: str, event_id: str) -> Key:
    return Key(f"OPERATION#{part(source)}#{part(event_id)}", FACT)


def reject(flow: str, day: datetime, payload_sha256: str) -> Key:
    return Key(f"REJECT#{flow}#{rfc3339(day)[:10]}", payload_sha256)


def waiting(workspace_id: str, source: str, event_id: str) -> Key:
    return Key(f"WAITING#{part(workspace_id)}", usage_event(source, event_id).pk)
