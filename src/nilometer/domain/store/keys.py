"""The key table: where every record and fact lives, on one page.

`records` holds what is true now (stream of new and old images), `events` every accepted fact once (TTL).
`gsi1` is the one overloaded sparse index of `records` (`gsi1pk`, `gsi1sk`). `gsi2` holds keys alone, of workspaces,
billing records and meters: by their kind (`gsi2pk`), in the order of their `pk` (`domain.store.lists`).

| records                    | pk                                   | sk                             |
|----------------------------|--------------------------------------|--------------------------------|
| Workspace                  | WORKSPACE#ws                         | WORKSPACE                      |
| Billing record             | WORKSPACE#ws                         | BILLING                        |
| Usage counter              | WORKSPACE#ws                         | USAGE#meter#period_start#shard |
| Alert of a limit, once     | WORKSPACE#ws                         | ALERT#meter#period#threshold#v |
| Allowance to reserve from  | WORKSPACE#ws                         | ALLOWANCE#meter#period_start   |
| Reservation                | WORKSPACE#ws                         | RESERVATION#id                 |
| What Stripe's meter has got | WORKSPACE#ws                        | METERED#meter#period_start     |
| Own limits of a workspace  | WORKSPACE#ws                         | LIMITS                         |
| Facts to be moved          | WORKSPACE#ws                         | REBUCKET                       |
| Webhooks of a workspace    | WORKSPACE#ws                         | WEBHOOKS                       |
| Slug of a workspace        | SLUG#slug                            | SLUG                           |
| Membership                 | WORKSPACE#ws                         | MEMBER#user                    |
| Invitation                 | WORKSPACE#ws                         | INVITATION#id                  |
| Pending invitations (TTL)  | WORKSPACE#ws                         | INVITED#2 digits of a hash     |
| Lock-out after failures    | WORKSPACE#ws                         | LOCKOUT#user                   |
| Security entry             | WORKSPACE#ws                         | SECURITY#ulid                  |
| One-time token             | TOKEN#sha256(token)                  | TOKEN                          |
| Session                    | SESSION#sha256(token)                | SESSION                        |
| API key                    | APIKEY#id                            | APIKEY                         |
| Meter                      | METER#slug                           | METER                          |
| Stripe object register     | CUSTOMER#account#mode#cus            | SUBSCRIPTION#sub, INVOICE#in …  |
| Customer → workspace link  | CUSTOMER#account#mode#cus            | LINK                           |
| Part of a billing record   | CUSTOMER#account#mode#cus            | BILLING#PART#nn                |
| Register without customer  | OBJECT#account#mode#id               | PRODUCT#id, PRICE#id …          |
| Disputes before their charge| OBJECT#account#mode#charge          | WAITING                        |
| Notification (TTL)         | USER#user                            | NOTIFICATION#ulid              |
| Unread in a workspace (TTL)| USER#user                            | UNREAD#ws#expiry day           |
| Notification preference    | USER#user                            | PREFERENCE#ws#topic            |
| Policy version             | POLICY#policy                        | VERSION#n                      |
| Policy acceptance          | USER#user                            | ACCEPTANCE#policy#n            |
| Feature flag               | FLAG#flag                            | FLAG                           |
| Dataset                    | DATASET#dataset                      | DATASET                        |
| Flag override              | WORKSPACE#ws                         | FLAG#flag                      |
| Onboarding (TTL)           | WORKSPACE#ws                         | ONBOARDING#user#tutorial       |
| Attachment                 | WORKSPACE#ws                         | ATTACHMENT#purpose#sha256      |
| Sweep of an object (TTL)   | WORKSPACE#ws                         | SWEEP#sha256                   |
| Void of a row of the audit | AUDIT#change_id                      | VOID                           |

| events                     | pk                                   | sk                             |
|----------------------------|--------------------------------------|--------------------------------|
| Stripe event               | STRIPE#account#evt                   | FACT                           |
| Usage event                | USAGE#source#id                      | FACT                           |
| … whose void came first    | USAGE#source#id                      | LATE (FACT is the tombstone)   |
| Value of a unique meter    | UNIQUE#ws#meter#period_start         | sha256 of the value            |
| Operations event           | OPERATION#source#id                  | FACT                           |
| Delta that Stripe was sent | METEREVENT#identifier                | FACT                           |
| Reject                     | REJECT#flow#YYYY-MM-DD               | sha256 of the payload          |
| Comparison with Stripe     | RECONCILE#account#mode               | PASS#type                      |
| … pages of it (TTL)        | RECONCILE#account#mode               | SEEN#type#begin#page           |
| … Connect accounts         | RECONCILE#mode                       | ACCOUNTS                       |
| … resent or dismissed      | REJECTMARK#flow                      | sha256 of the payload          |
| Usage waiting for its ws   | WAITING#ws                           | USAGE#source#id                |
| Who began to wait that day | WAITED#YYYY-MM-DD                    | WAITING#ws                     |
| Message that waits in queue| WAITS#flow                           | message id                     |
| Pass that completes lists  | LISTS                                | LISTS                          |

| index of records           | gsi1pk                               | gsi1sk                         |
|----------------------------|--------------------------------------|--------------------------------|
| Membership, active         | USER#user                            | WORKSPACE#ws                   |
| Session                    | USER#user                            | SESSION#created#id             |
| API key                    | APIKEYS#ws                           | id                             |
| Invitation                 | INVITATION#sha256(token)             | INVITATION                     |
| Security entry             | ACTOR#actor                          | ulid                           |
| Policy acceptance          | POLICY#policy#n                      | time#user                      |
| Feature flag               | FLAGS                                | flag                           |
| Dataset                    | DATASETS                             | dataset                        |
| Flag override, in effect   | FLAG#flag                            | WORKSPACE#ws                   |
| Facts to be moved          | REBUCKET                             | WORKSPACE#ws                   |
| Register in doubt          | REFETCH                              | when to fetch                  |
| … of a payment method, else | OBJECT#account#mode#id              | PAYMENT_METHOD#id              |
| To be reported to Stripe   | OUTBOX                               | WORKSPACE#ws#METERED#meter#… |
| Reservation, open          | RESERVED#part                        | end#WORKSPACE#ws#id            |

`#` inside a variable part is escaped as `%23` (and `%` as `%25`), so that no value can pose as another key.
"""

from __future__ import annotations

import zlib
from datetime import datetime

from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Key

FACT = "FACT"
FLAGS = "FLAGS"  # in the index: all feature flags, which are few
COUNTERS = "USAGE#"  # the sort keys of all counters of a workspace begin so
REBUCKET = "REBUCKET"  # in the index: workspaces whose periods moved
OUTBOX = "OUTBOX"  # in the index: counters that Stripe's meters may not have in full
DATASETS = "DATASETS"  # and all datasets
LISTS = Key("LISTS", "LISTS")  # in events: whether the index of lists has all, and how far the pass over the table is
INDEXED = frozenset({"gsi1pk", "gsi1sk", "gsi2pk"})
"""Attributes that put a record into an index: they say where it is found, and nothing of its state."""
LISTED = ("billing", "meter", "workspace")
"""Kinds of records that lists name. They are written often and made seldom: an entry of keys costs a write when the
record is made."""


def listing(kind: str) -> dict[str, str]:
    """What puts a record of this kind into the index of lists; empty for one that no list names."""
    return {"gsi2pk": kind} if kind in LISTED else {}


def part(value: str) -> str:
    """A variable part of a key, unable to contain the separator."""
    return value.replace("%", "%25").replace("#", "%23") if "#" in value or "%" in value else value


def workspace(workspace_id: str) -> Key:
    """In records: the workspace's own record. Its partition holds most of what belongs to the workspace."""
    return Key(f"WORKSPACE#{part(workspace_id)}", "WORKSPACE")


def billing(workspace_id: str) -> Key:
    """In records: the folded billing record, one a workspace."""
    return Key(f"WORKSPACE#{part(workspace_id)}", "BILLING")


def limits(workspace_id: str) -> Key:
    """In records: the workspace's own overrides and grants, laid over its plan's limits."""
    return Key(f"WORKSPACE#{part(workspace_id)}", "LIMITS")


def rebucket(workspace_id: str) -> Key:
    """In records: the mark that facts must move to other periods because Stripe's period changed."""
    return Key(f"WORKSPACE#{part(workspace_id)}", REBUCKET)


def webhooks(workspace_id: str) -> Key:
    """In records: the endpoints to which the workspace's announcements are posted, all in one."""
    return Key(f"WORKSPACE#{part(workspace_id)}", "WEBHOOKS")


def slug(slug: str) -> Key:
    """In records: the claim of a slug by one workspace. Its insertion is conditional, so a slug is unique."""
    return Key(f"SLUG#{part(slug)}", "SLUG")


def member(workspace_id: str, user_id: str) -> Key:
    """In records: one user's membership, also the mark of one that ended (TTL)."""
    return Key(workspace(workspace_id).pk, f"MEMBER#{part(user_id)}")


def invitation(workspace_id: str, invitation_id: str) -> Key:
    """In records: one invitation, by its ULID; its token is found through the index."""
    return Key(workspace(workspace_id).pk, f"INVITATION#{part(invitation_id)}")


def invited(workspace_id: str, digits: str) -> Key:
    """Of 256, the one for an address: it names the invitations that are pending, to this address and others."""
    return Key(workspace(workspace_id).pk, f"INVITED#{digits}")


def lockout(workspace_id: str, user_id: str) -> Key:
    """In records: failed logins of one user in one workspace, and until when they lock this user out."""
    return Key(workspace(workspace_id).pk, f"LOCKOUT#{part(user_id)}")


def security(workspace_id: str, ulid: str) -> Key:
    """In the order of time."""
    return Key(workspace(workspace_id).pk, f"SECURITY#{ulid}")


def token(sha256: str) -> Key:
    """In records: a one-time token. Only the SHA-256 (hexadecimal) of the token is known."""
    return Key(f"TOKEN#{sha256}", "TOKEN")


def session(sha256: str) -> Key:
    """In records: a session. Only the SHA-256 (hexadecimal) of its token is known."""
    return Key(f"SESSION#{sha256}", "SESSION")


def api_key(key_id: str) -> Key:
    """In records: an API key, by its ULID, with the hashes of its secrets."""
    return Key(f"APIKEY#{part(key_id)}", "APIKEY")


def api_keys(workspace_id: str) -> str:
    """In the index: the API keys of a workspace; those of services under the empty name."""
    return f"APIKEYS#{part(workspace_id)}"


def user(user_id: str) -> str:
    """The partition of what belongs to one person; in the index: the workspaces and sessions of one user."""
    return f"USER#{part(user_id)}"


def invitation_token(sha256: str) -> str:
    """In the index: the invitation that a token is for."""
    return f"INVITATION#{sha256}"


def actor(actor: str) -> str:
    """In the index: what one actor did, by time."""
    return f"ACTOR#{part(actor)}"


def counter(workspace_id: str, meter: str, start: str, shard: int) -> Key:
    """`start` is the period's start (RFC 3339), or `DAY#YYYY-MM-DD`'s own text for a UTC day."""
    return Key(f"WORKSPACE#{part(workspace_id)}", f"{COUNTERS}{part(meter)}#{start}#{shard}")


def counters(workspace_id: str, meter: str, start: str) -> Key:
    """The partition and the prefix of all shards of one counter."""
    whole = counter(workspace_id, meter, start, 0)
    return Key(whole.pk, whole.sk.removesuffix("0"))


def alert(workspace_id: str, meter: str, start: str, threshold: str, limit_version: str) -> Key:
    """In records: one threshold of one limit's version, reached in a period: `threshold` is a percentage or `hard`."""
    return Key(f"WORKSPACE#{part(workspace_id)}", f"ALERT#{part(meter)}#{start}#{threshold}#{part(limit_version)}")


def allowance(workspace_id: str, meter: str, start: str) -> Key:
    """In records: the sum that is reserved of a hard limit in the period that starts at `start` (RFC 3339)."""
    return Key(f"WORKSPACE#{part(workspace_id)}", f"ALLOWANCE#{part(meter)}#{start}")


def reservation(workspace_id: str, reservation_id: str) -> Key:
    """In records: one reservation, by the id that its maker gave it."""
    return Key(f"WORKSPACE#{part(workspace_id)}", f"RESERVATION#{part(reservation_id)}")


def metered(workspace_id: str, meter: str, start: str) -> Key:
    """In records: how much of a counter Stripe's meter has been sent, and the delta that is pending."""
    return Key(f"WORKSPACE#{part(workspace_id)}", f"METERED#{part(meter)}#{start}")


RESERVED_PARTS = 16  # one partition of the index takes about 1,000 writes a second


def reserved_part(number: int) -> str:
    """A partition of `gsi1` of open reservations, the first to end first."""
    return f"RESERVED#{number}"


def reserved_until(end: datetime, workspace_id: str, reservation_id: str) -> dict[str, str]:
    """Where a reservation that ends then stands in `gsi1` while it is open."""
    return {
        "gsi1pk": reserved_part(zlib.crc32(reservation_id.encode()) % RESERVED_PARTS),
        "gsi1sk": f"{rfc3339(end)}#WORKSPACE#{part(workspace_id)}#{part(reservation_id)}",
    }


def ended_until(now: datetime) -> str:
    """The last place in a partition of what has ended by now."""
    return f"{rfc3339(now)}~"


def reserved_in_hour(hour: datetime) -> list[str]:
    """The partitions of `gsi1` of reservations that an earlier version opened, and that end in this hour."""
    first = f"RESERVED#{rfc3339(hour)[:13]}"
    return [first, *(f"{first}#{number}" for number in range(4))]


def meter(slug: str) -> Key:
    """In records: the definition of a meter, the same for all workspaces."""
    return Key(f"METER#{part(slug)}", "METER")


def customer(account: str, livemode: bool, customer_id: str) -> str:
    """The partition of everything that belongs to one Stripe customer."""
    return f"CUSTOMER#{part(account)}#{mode(livemode)}#{part(customer_id)}"


def link(account: str, livemode: bool, customer_id: str) -> Key:
    """In records: which workspaces a Stripe customer pays for, in the partition of its registers."""
    return Key(customer(account, livemode, customer_id), "LINK")


def billing_part(account: str, livemode: bool, customer_id: str, slot: int) -> Key:
    """In records, with the customer's registers: some of its subscriptions, when they are many."""
    return Key(customer(account, livemode, customer_id), f"BILLING#PART#{slot:02}")


def register(account: str, livemode: bool, object_type: str, object_id: str, customer_id: str | None) -> Key:
    """Under its customer, so that one query reads all that the billing record folds; else alone."""
    pk = customer(account, livemode, customer_id) if customer_id else stripe_object(account, livemode, object_id)
    return Key(pk, f"{object_type.upper().replace('.', '_')}#{part(object_id)}")


def stripe_object(account: str, livemode: bool, object_id: str) -> str:
    """The partition of a register that lies alone; in the index: a payment method, which lies with its customer."""
    return f"OBJECT#{part(account)}#{mode(livemode)}#{part(object_id)}"


def risk_waiting(charge: Key) -> Key:
    """Beside the register of a charge whose customer is not known yet."""
    return Key(charge.pk, "WAITING")


def mode(livemode: bool) -> str:
    """The part of a key for Stripe's `livemode`."""
    return "live" if livemode else "test"


def notification(user_id: str, notification_id: str) -> Key:
    """In records: one notification (TTL), by its ULID, so in the order of time."""
    return Key(user(user_id), f"NOTIFICATION#{part(notification_id)}")


def unread(user_id: str, workspace_id: str | None, day: str) -> Key:
    """`day` is the UTC date on which what is counted expires. Without a workspace the part is empty."""
    return Key(user(user_id), f"UNREAD#{part(workspace_id or '')}#{day}")


def preference(user_id: str, workspace_id: str | None, topic: str) -> Key:
    """In records: `topic` may be `*` for all; without a workspace the part is empty and it holds everywhere."""
    return Key(user(user_id), f"PREFERENCE#{part(workspace_id or '')}#{part(topic)}")


def policy(name: str) -> str:
    """The partition of all versions of one policy."""
    return f"POLICY#{part(name)}"


def policy_version(name: str, number: int) -> Key:
    """Padded, so that the newest is the last."""
    return Key(policy(name), f"VERSION#{number:06}")


def acceptance(user_id: str, policy: str, number: int) -> Key:
    """In records: that a user accepted one version of a policy. The number is padded to six digits, to sort."""
    return Key(user(user_id), f"ACCEPTANCE#{part(policy)}#{number:06}")


def accepted(policy_name: str, number: int) -> str:
    """In the index: who accepted one version, by time."""
    return f"{policy(policy_name)}#{number:06}"


def flag(name: str) -> Key:
    """In records: a feature flag as it is set for everybody."""
    return Key(f"FLAG#{part(name)}", "FLAG")


def override(workspace_id: str, flag: str) -> Key:
    """In records: a feature flag as it is set for one workspace."""
    return Key(f"WORKSPACE#{part(workspace_id)}", f"FLAG#{part(flag)}")


def dataset(name: str) -> Key:
    """In records: the declaration of a connector dataset."""
    return Key(f"DATASET#{part(name)}", "DATASET")


def onboarding(workspace_id: str, user_id: str, tutorial: str) -> Key:
    """In records: one user's progress in one tutorial (TTL)."""
    return Key(f"WORKSPACE#{part(workspace_id)}", f"ONBOARDING#{part(user_id)}#{part(tutorial)}")


def attachment(workspace_id: str, purpose: str, sha256: str) -> Key:
    """In records: the reference to an object in S3, by purpose and the SHA-256 of its content."""
    return Key(workspace(workspace_id).pk, f"ATTACHMENT#{part(purpose)}#{part(sha256)}")


def sweep(workspace_id: str, sha256: str) -> Key:
    """In records: that an object which no attachment named is being deleted, or was lately."""
    return Key(workspace(workspace_id).pk, f"SWEEP#{part(sha256)}")


def stripe_event(account: str, event_id: str) -> Key:
    """In events: one Stripe event. Stripe's ids are unique within an account."""
    return Key(f"STRIPE#{part(account)}#{part(event_id)}", FACT)


def usage_event(source: str, event_id: str) -> Key:
    """In events: one usage event, or the tombstone of its void. CloudEvents' source and id identify it together."""
    return Key(f"USAGE#{part(source)}#{part(event_id)}", FACT)


def late(fact: Key) -> Key:
    """Beside a tombstone, so that the fact is still an insert of its own in the stream."""
    return Key(fact.pk, "LATE")


def unique_value(workspace_id: str, meter: str, start: str, value_sha256: str) -> Key:
    """In events: that a unique meter has counted this value in this period. The value is hashed."""
    return Key(f"UNIQUE#{part(workspace_id)}#{part(meter)}#{start}", value_sha256)


def operation(source: str, event_id: str) -> Key:
    """In events: one operations event, by CloudEvents' source and id."""
    return Key(f"OPERATION#{part(source)}#{part(event_id)}", FACT)


def meter_event(identifier: str) -> Key:
    """In events: one delta that a meter at Stripe was sent (TTL), and in which report Stripe refused it."""
    return Key(f"METEREVENT#{part(identifier)}", FACT)


def audit_void(change_id: str) -> Key:
    """Of the void of a row of the audit."""
    return Key(f"AUDIT#{part(change_id)}", "VOID")


def voided_change(pk: str) -> str:
    """The id of the change that a void of this partition key voids."""
    return pk.removeprefix("AUDIT#")


def reject(flow: str, day: datetime, payload_sha256: str) -> Key:
    """In events: a rejected message; the same payload on one UTC day is kept once a flow."""
    return Key(f"REJECT#{flow}#{rfc3339(day)[:10]}", payload_sha256)


def reject_mark(flow: str, digest: str) -> Key:
    """What an operator did with a reject."""
    return Key(f"REJECTMARK#{flow}", digest)


def reconcile_pass(account: str, livemode: bool, object_type: str) -> Key:
    """In events: how far the comparison of one type of object with Stripe has come."""
    return Key(f"RECONCILE#{part(account)}#{mode(livemode)}", f"PASS#{object_type}")


def reconcile_seen(account: str, livemode: bool, object_type: str, started_at: str, page: int) -> Key:
    """Beside it: what one page of the pass that began then had."""
    return Key(reconcile_pass(account, livemode, "").pk, f"SEEN#{object_type}#{started_at}#{page:08}")


def reconcile_accounts(livemode: bool) -> Key:
    """In events: the Connect accounts whose objects are compared."""
    return Key(f"RECONCILE#{mode(livemode)}", "ACCOUNTS")


def waiting_for_workspace(workspace_id: str) -> str:
    """The partition of usage that waits until its workspace is known."""
    return f"WAITING#{part(workspace_id)}"


def waiting_for_meter(slug: str) -> str:
    """The partition of usage that waits until its meter is created."""
    return f"WAITING-METER#{part(slug)}"


def waiting(partition: str, source: str, event_id: str) -> Key:
    """One event that waits in a partition of the two above."""
    return Key(partition, usage_event(source, event_id).pk)


def waited(day: datetime, partition: str) -> Key:
    """Names a partition in which something began to wait on this day."""
    return Key(f"WAITED#{rfc3339(day)[:10]}", partition)


def waits(flow: str, message_id: str) -> Key:
    """In events: that a message of a flow waits in its queue (TTL), by the id that SQS gave it."""
    return Key(f"WAITS#{flow}", message_id)
