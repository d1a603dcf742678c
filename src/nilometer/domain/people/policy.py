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

from nilometer.domain.acts.act import checked_id
from nilometer.domain.acts.origin import Origin, check_length, check_workspace, put
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Check, Item, Key, Present, Table, Write
from nilometer.errors import NotKnownYet, Rejected

LARGEST_VERSION = 999_999
URL_LENGTH = 2_000
USER_AGENT_LENGTH = 512
IP_KEY_BYTES = 16  # at least

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Policy(StrEnum):
    PRIVACY = "privacy"
    TERMS = "terms"
    COOKIES = "cookies"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """One published text, which rests at `url` and is fixed by its hash.

    An editorial version (`material` false) needs no new acceptance from who accepted the one before.
    """

    policy: Policy
    number: int
    url: str
    content_sha256: str
    effective_at: datetime
    material: bool = True

    @property
    def key(self) -> Key:
        return keys.policy_version(self.policy, self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """That a person accepted one version. Of the address only a keyed hash is kept."""

    user_id: str
    policy: Policy
    number: int
    at: datetime
    ip_hash: str | None = None
    user_agent: str | None = None
    workspace_id: str | None = None

    @property
    def key(self) -> Key:
        return keys.acceptance(self.user_id, self.policy, self.number)


def new_version(
    policy: str, number: int, *, url: str, content_sha256: str, effective_at: datetime, material: bool = True
) -> PolicyVersion:
    """`Rejected("invalid_schema")` says which part cannot be."""
    which = _policy(policy, number)
    check_length("a url", url, URL_LENGTH)
    if not url.startswith("https://"):
        raise Rejected("invalid_schema", "a policy's url begins with https://")
    if not _SHA256.fullmatch(content_sha256):
        raise Rejected("invalid_schema", "content_sha256 is the SHA-256 of the text as 64 hexadecimal digits")
    return PolicyVersion(
        policy=which,
        number=number,
        url=url,
        content_sha256=content_sha256,
        effective_at=effective_at,
        material=material,
    )


def new_acceptance(
    user_id: str,
    policy: str,
    number: int,
    *,
    at: datetime,
    ip_hash: str | None = None,
    user_agent: str | None = None,
    workspace_id: str | None = None,
) -> Acceptance:
    """`Rejected("invalid_schema")` says which part cannot be. A longer user agent is cut."""
    checked_id(user_id)
    if workspace_id is not None:
        check_workspace(workspace_id)
    if ip_hash is not None and not _SHA256.fullmatch(ip_hash):
        raise Rejected("invalid_schema", "ip_hash is a keyed hash as 64 hexadecimal digits, never an address")
    return Acceptance(
        user_id=user_id,
        policy=_policy(policy, number),
        number=number,
        at=at,
        ip_hash=ip_hash,
        user_agent=user_agent[:USER_AGENT_LENGTH] if user_agent is not None else None,
        workspace_id=workspace_id,
    )


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


def publish(stored: Item | None, version: PolicyVersion, *, origin: Origin, now: datetime) -> list[Write]:
    """The version; nothing when it is published already, `Rejected("conflict")` when it says something else."""
    attributes = {
        "policy": str(version.policy),
        "policy_version": version.number,
        "url": version.url,
        "content_sha256": version.content_sha256,
        "effective_at": rfc3339(version.effective_at),
        "material": version.material,
    }
    if stored is None:
        return [put(version.key, "policy", attributes, stored=None, origin=origin, now=now)]
    if differing := [name for name, value in attributes.items() if stored[name] != value]:
        raise Rejected(
            "conflict",
            f"version {version.number} of {version.policy} is published with another {', '.join(differing)}; "
            "publish the next version",
        )
    return []


def accept_reads(acceptance: Acceptance) -> tuple[Key, Key]:
    return acceptance.key, keys.policy_version(acceptance.policy, acceptance.number)


def accept(stored: Mapping[Key, Item], acceptance: Acceptance, *, origin: Origin, now: datetime) -> list[Write]:
    """The acceptance and the check that its version exists; nothing when it was accepted before: the first stays.

    `stored` holds what exists of `accept_reads`. `NotKnownYet` when the version is not known.
    """
    own, version = accept_reads(acceptance)
    if own in stored:
        return []
    if version not in stored:
        raise NotKnownYet(
            "unknown_policy", f"version {acceptance.number} of {acceptance.policy} is not known; it may be on the way"
        )
    accepted_at = rfc3339(acceptance.at)
    attributes = {
        "user_id": acceptance.user_id,
        "workspace_id": acceptance.workspace_id,
        "policy": str(acceptance.policy),
        "policy_version": acceptance.number,
        "accepted_at": accepted_at,
        "ip_hash": acceptance.ip_hash,
        "user_agent": acceptance.user_agent,
        "gsi1pk": keys.accepted(acceptance.policy, acceptance.number),
        "gsi1sk": f"{accepted_at}#{keys.part(acceptance.user_id)}",
    }
    return [
        put(acceptance.key, "acceptance", attributes, stored=None, origin=origin, now=now),
        Check(table=Table.RECORDS, key=version, expected=Present()),
    ]


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


def _policy(policy: str, number: int) -> Policy:
    if policy not in set(Policy):
        raise Rejected("invalid_schema", f"policy {policy!r} is none of {', '.join(Policy)}")
    if not 0 < number <= LARGEST_VERSION:
        raise Rejected("invalid_schema", f"a policy's version is 1 to {LARGEST_VERSION}")
    return Policy(policy)
