"""The policies that a person accepts: their published versions, who accepted which, and what is outstanding.

Versions and acceptances are evidence: written once, never changed, never expired.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.deed import Actor, Bounds, Decided, Deed, Id, Reach, Sha256, Stored, made
from nilometer.domain.acts.records import put
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.text import check_text, shown
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Check, Item, Key, Present, Table, Write
from nilometer.errors import NotKnownYet, Refused, Rejected

LARGEST_VERSION = 999_999
URL_LENGTH = 2_000
USER_AGENT_LENGTH = 512
IP_KEY_BYTES = 16  # at least

Number = Annotated[int, Bounds(least=1, most=LARGEST_VERSION)]
Url = Annotated[str, Bounds(pattern="^https://", most=URL_LENGTH)]

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Policy(StrEnum):
    """The documents that have versions. The value is part of the keys of versions and acceptances."""

    PRIVACY = "privacy"
    TERMS = "terms"
    COOKIES = "cookies"


@dataclass(frozen=True, kw_only=True)
class PublishPolicy(Deed[bool]):
    """A version of a policy has its text, for good; unless it is `material`, nobody has to accept again.

    False when it is published already; `Rejected("conflict")` when its number says something else.
    """

    reach = Reach.EVERYBODY
    permission = Permission.POLICY_PUBLISH
    actor = Actor.NAMED

    policy: Policy
    version: Number
    url: Url
    content_sha256: Sha256
    effective_at: datetime
    material: bool = True

    def __post_init__(self) -> None:
        _check_version(self.policy, self.version)
        check_text("a url", self.url, URL_LENGTH)
        if not self.url.startswith("https://"):
            raise Rejected("invalid_schema", "a policy's url begins with https://")
        if not _SHA256.fullmatch(self.content_sha256):
            raise Rejected("invalid_schema", "content_sha256 is the SHA-256 of the text as 64 hexadecimal digits")

    def reads(self, act: Act) -> list[Key]:
        return [keys.policy_version(self.policy, self.version)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        [key] = self.reads(act)
        attributes = {
            "policy": str(self.policy),
            "policy_version": self.version,
            "url": self.url,
            "content_sha256": self.content_sha256,
            "effective_at": rfc3339(self.effective_at),
            "material": self.material,
        }
        if key not in stored:
            return [put(act, key, "policy", None, attributes)]
        if differing := [name for name, value in attributes.items() if stored[key][name] != value]:
            raise Rejected(
                "conflict",
                f"version {self.version} of {self.policy} is published with another {', '.join(differing)}; "
                "publish the next version",
            )
        return []

    def answer(self, act: Act, decided: Decided) -> bool:
        return bool(decided.writes)


@dataclass(frozen=True, kw_only=True)
class AcceptPolicy(Deed[bool]):
    """A person accepted a version of a policy; of his address there is a keyed hash.

    False when he had: the first acceptance stays as it is. A longer user agent is cut. `NotKnownYet` when there is no
    such version.
    """

    reach = Reach.PERSON
    permission = Permission.POLICY_ACCEPT
    actor = Actor.PERSON

    user_id: Id = made()
    policy: Policy
    version: Number
    ip_hash: Sha256 | None = None
    user_agent: str | None = None

    def __post_init__(self) -> None:
        _check_version(self.policy, self.version)
        if self.ip_hash is not None and not _SHA256.fullmatch(self.ip_hash):
            raise Rejected("invalid_schema", "ip_hash is a keyed hash as 64 hexadecimal digits, never an address")

    def reads(self, act: Act) -> list[Key]:
        """The acceptance and its version."""
        user_id = checked_id(self.user_id)
        return [keys.acceptance(user_id, self.policy, self.version), keys.policy_version(self.policy, self.version)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        if act.caller.role is None and not act.is_event:
            raise Refused("a policy is accepted by a person, not by a service")
        self.require(act)
        own, version = self.reads(act)
        if own in stored:
            return []
        if version not in stored:
            raise NotKnownYet(
                "unknown_policy", f"version {self.version} of {self.policy} is not known; it may not have arrived"
            )
        accepted_at = rfc3339(act.happened)
        attributes = {
            "user_id": self.user_id,
            "workspace_id": act.workspace_id or None,
            "policy": str(self.policy),
            "policy_version": self.version,
            "accepted_at": accepted_at,
            "ip_hash": self.ip_hash,
            "user_agent": shown(self.user_agent[:USER_AGENT_LENGTH]) if self.user_agent is not None else None,
            "gsi1pk": keys.accepted(self.policy, self.version),
            "gsi1sk": f"{accepted_at}#{keys.part(self.user_id)}",
        }
        known = Check(table=Table.RECORDS, key=version, expected=Present())
        return [put(act, own, "acceptance", None, attributes), known]

    def answer(self, act: Act, decided: Decided) -> bool:
        return bool(decided.writes)


def ip_hash(address: str, *, key: bytes) -> str:
    """HMAC-SHA-256 of an address in its one normal form: equal for equal addresses, useless without `key`.

    A plain hash of an IPv4 address is found by trying all of them. An IPv4 address mapped into IPv6 is the same.
    """
    if len(key) < IP_KEY_BYTES:
        raise ValueError(f"the key of address hashes has at least {IP_KEY_BYTES} bytes")
    try:
        parsed = ipaddress.ip_address(address.strip())
    except ValueError:
        raise Rejected("invalid_schema", "this is no IP address") from None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return hmac.new(key, (mapped or parsed).packed, hashlib.sha256).hexdigest()


def in_force(versions: Iterable[Item], now: datetime) -> Item | None:
    """The highest version that has taken effect."""
    effective = [item for item in versions if parse_rfc3339(item["effective_at"]) <= now]
    return max(effective, key=lambda item: int(item["policy_version"]), default=None)


def outstanding(
    versions: Mapping[Policy, Iterable[Item]], acceptances: Iterable[Item], now: datetime
) -> tuple[Item, ...]:
    """The version in force of every policy of which the person has accepted nothing sufficient.

    Sufficient is the newest material version in force, or any later one.
    """
    accepted: dict[str, int] = {}
    for item in acceptances:
        accepted[item["policy"]] = max(accepted.get(item["policy"], 0), int(item["policy_version"]))
    missing = []
    for policy, published in versions.items():
        known = tuple(published)
        current = in_force(known, now)
        if current and accepted.get(policy, 0) < _needed(known, now):
            missing.append(current)
    return tuple(missing)


def _needed(versions: Iterable[Item], now: datetime) -> int:
    """Of versions that are all editorial the first counts: something must be accepted."""
    known = tuple(item for item in versions if parse_rfc3339(item["effective_at"]) <= now)
    material = in_force((item for item in known if item["material"]), now)
    return int(material["policy_version"]) if material else min(int(item["policy_version"]) for item in known)


def _check_version(policy: str, number: int) -> None:
    if policy not in set(Policy):
        raise Rejected("invalid_schema", f"policy {policy!r} is none of {', '.join(Policy)}")
    if not 0 < number <= LARGEST_VERSION:
        raise Rejected("invalid_schema", f"a policy's version is 1 to {LARGEST_VERSION}")
