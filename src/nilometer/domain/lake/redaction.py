"""What must not reach the lake or the bus: personal data, credentials, free text.

Two nets, because Stripe adds fields and event types every month:

1. *By name.* Below a key that may hold personal data or a secret nothing survives, at any depth, in any object.
   A few names are public in a few objects: a product's `name`, an invoice's `number`.
2. *By shape*, for every other text of a Stripe payload: ids, enums, codes, dates and decimals stay; anything with
   a space, `@`, `/` or other punctuation, an IP address or a long number goes.

Numbers, booleans and nulls outside net 1 stay. Of metadata stay the names, `workspace_id`, and what the project itself
defines (`plan`, `limits`, `limit_*`, `seats`, `features`) as long as it is numbers and words of a catalog. A null stays
null everywhere: that nothing was given is no secret.

In our own records (images of changes) the second net is wider, because they hold texts that we wrote ourselves;
a Stripe object inside one is treated as a Stripe payload. Hashes of tokens in keys become other hashes, so that
a record keeps its identity and nobody can look up a token.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from nilometer.domain.store.compressed import unpack

REDACTED = "[redacted]"

_PRIVATE_PARTS = re.compile(
    r"e_?mail|phone|address|shipping|billing_details|customer_details|owner|tax_id|first_name|last_name|maiden"
    r"|(?:^|_)name$|(?:^|_)names$|nickname|dob|birth|gender|passport|ssn|id_number|national"
    r"|iban|bic|swift|routing|sort_code|account_number|account_holder|last4|last_4|last_four|dynamic_last|fingerprint"
    r"|exp_month|exp_year|cvc|pan$|(?:^|_)ip$|(?:^|_)ip_|user_agent|geo|latitude|longitude"
    r"|secret|token|passw|api_key|private_key|credential|signature|authorization_code|(?:^|_)hash$"
    r"|(?:^|_)urls?$|_pdf$|(?:^|_)uri$|description|descriptor|memo$|footer|(?:^|_)notes?$|comment|message"
    r"|custom_fields|custom_text|collected_information|verified_|document|evidence|individual|company|business"
    r"|person$|postal|zip_?code|(?:^|_)city$|(?:^|_)line[12]$|(?:^|_)number$|(?:^|_)value$|(?:^|_)text$|(?:^|_)title$|(?:^|_)body$|(?:^|_)link$"
)
# They contain one of the parts above and hold none of it.
_PUBLIC_NAMES = frozenset({"event_name", "quota_name", "attempt_number", "sequence_number"})
_AMOUNT = re.compile(r"^amount_|_amount$|_cost$")
_PUBLIC_IN: Mapping[str, str] = {
    "product": "name",
    "coupon": "name",
    "plan": "nickname",
    "price": "nickname",
    "entitlements.feature": "name",
    "billing.meter": "display_name",
    "billing.credit_grant": "name",
    "invoice": "number",
    "credit_note": "number",
    "quote": "number",
}
"""By object, its one name that is public."""
_METADATA = frozenset({"metadata", "subscription_metadata", "invoice_metadata"})
_METADATA_KEPT = frozenset({"workspace_id"})
_CATALOG = re.compile(r"(?:plan|limits|seats|features|limit_[A-Za-z0-9_]{1,64})\Z")
_CATALOG_CHARACTERS = 10_000  # of one value; Stripe's own bound is 500
_CATALOG_DEPTH = 4
_NUMBER = re.compile(r"-?\d{1,24}(\.\d{1,9})?(/seat)?\Z")

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+\-]{0,254}\Z")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,254}\Z")  # most ids and words: no address, no number, no instant
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?\Z")
_DIGITS = re.compile(r"[\d.:+\-]+\Z")
_IP = re.compile(r"(\d{1,3}(\.\d{1,3}){3}|[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7})\Z")
_PERSONAL = re.compile(r"@|://|\b\d{1,3}(\.\d{1,3}){3}\b")
_LONG_NUMBER = 7  # digits: as short as telephone numbers are

# Not followed by `~`, which marks what has been replaced. Sort keys hold no hash: INVITATION#id stays.
_HASHED_KEYS = re.compile(r"^(TOKEN|SESSION|INVITATION)#([^~].*)\Z", re.DOTALL)
_PARTITION_KEYS = frozenset({"pk", "gsi1pk", "gsi2pk"})
_SORT_KEYS = frozenset({"sk", "gsi1sk"})
# Maps whose names are meters: `emails` is one, and no address.
_BY_SLUG = frozenset({"limits", "limit_rules", "own_limits"})
# Kinds whose `name` and `description` are our catalog.
_IMAGE_PUBLIC_NAMES = frozenset({"meter", "flag", "policy", "dataset"})


def stripe_payload(payload: Any) -> Any:
    """A Stripe event or object of any type and version without anything personal. Idempotent."""
    return _stripe(payload, "")


def image(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item of ours as JSON values, redacted. Deterministic, so that equal items have equal images."""
    public = item.get("kind") in _IMAGE_PUBLIC_NAMES
    return {name: _attribute(name, value, public=public) for name, value in sorted(item.items())}


def key_text(key: str) -> str:
    """A partition key in which the hash of a token is replaced by a hash of that hash."""
    match = _HASHED_KEYS.match(key)
    return f"{match[1]}#~{_digest(match[2].encode())[:32]}" if match else key


def text(value: str) -> str:
    """A text of ours, unless an e-mail address, a URL or an IP address stands in it."""
    return REDACTED if _PERSONAL.search(value) else value


def id_text(value: str) -> str:
    """An id that others chose. One with an `@`, which may be an address, is replaced by its hash, always the same."""
    return f"~{_digest(value.encode(errors='backslashreplace'))[:32]}" if "@" in value else value


@lru_cache(maxsize=4096)
def is_private(name: str) -> bool:
    """Whether nothing below this name may survive, in whatever object it stands."""
    lower = name.lower()
    if lower in _PUBLIC_NAMES or _AMOUNT.search(lower):
        return False
    return _PRIVATE_PARTS.search(lower) is not None


def _stripe(value: Any, name: str) -> Any:
    match value:
        case str():
            return value if _is_plain(value, name) else REDACTED
        case dict():
            kind = value.get("object")
            public = _PUBLIC_IN.get(kind) if isinstance(kind, str) else None
            return {key: _stripe_field(key, inner, public) for key, inner in value.items()}
        case list():
            return [_stripe(element, name) for element in value]
        case _:
            return value


def _stripe_field(name: str, value: Any, public: str | None) -> Any:
    """Of an object whose field `public` is no person's."""
    if value is None or (name == public and isinstance(value, str)):
        return value
    if name in _METADATA:
        return _metadata(value)
    return REDACTED if is_private(name) else _stripe(value, name)


def _metadata(value: Any) -> Any:
    """Names are the integrator's vocabulary; values may be anybody's data."""
    if not isinstance(value, dict):
        return REDACTED
    return {name: _metadata_value(name, inner) for name, inner in value.items()}


def _metadata_value(name: str, value: Any) -> Any:
    if value is None or (_CATALOG.match(name) and _is_catalog(value)):
        return value
    kept = name in _METADATA_KEPT and isinstance(value, str) and _is_plain(value, name)
    return value if kept else REDACTED


def _is_catalog(value: Any) -> bool:
    """Numbers, words with commas between them, or JSON of such."""
    if not isinstance(value, str):
        return isinstance(value, int | Decimal)
    if len(value) > _CATALOG_CHARACTERS:
        return False
    if value[:1] not in {"{", "["}:
        return all(_is_word(word.strip()) for word in value.split(","))
    try:
        return _are_words(json.loads(value, parse_float=Decimal), _CATALOG_DEPTH)
    except (ValueError, RecursionError):
        return False


def _are_words(value: Any, depth: int) -> bool:
    match value:
        case str():
            return _is_word(value)
        case dict() if depth:
            names = all(_is_word(name) and not is_private(name) for name in value)
            return names and all(_are_words(inner, depth - 1) for inner in value.values())
        case list() if depth:
            return all(_are_words(inner, depth - 1) for inner in value)
        case dict() | list():
            return False
        case _:
            return True


def _is_word(text: str) -> bool:
    return _NUMBER.match(text) is not None or _is_plain(text, "")


def _is_plain(text: str, name: str) -> bool:
    if not text or text == REDACTED or _NAME.match(text) or _INSTANT.match(text):
        return True
    if not _PLAIN.match(text) or _IP.match(text):
        return False
    return not _DIGITS.match(text) or name.endswith(("_decimal", "_rate")) or sum(map(str.isdigit, text)) < _LONG_NUMBER


def _attribute(name: str, value: Any, *, public: bool) -> Any:
    if value is None:
        return None
    if name in _SORT_KEYS:
        return value
    if name in _PARTITION_KEYS and isinstance(value, str):
        return key_text(value)
    if name in _METADATA:
        return _metadata(value)
    if name in _BY_SLUG and isinstance(value, dict):
        return {slug: _image_value(value[slug], "", public=public) for slug in sorted(value)}
    if is_private(name) and not (public and name in {"name", "description"}) and not _is_quantity(name, value):
        return REDACTED
    return _image_value(value, name, public=public)


def _is_quantity(name: str, value: Any) -> bool:
    """Of usage that Stripe's meters are sent: a number of ours, and nobody's data."""
    return name == "value" and isinstance(value, int | Decimal)


def _image_value(value: Any, name: str, *, public: bool) -> Any:
    match value:
        case str():
            return text(value)
        case dict() if isinstance(value.get("object"), str):
            return _stripe(_json_ready(value), name)
        case dict():
            return {key: _attribute(key, value[key], public=public) for key in sorted(value)}
        case list():
            return [_image_value(element, name, public=public) for element in value]
        case set() | frozenset():
            return sorted(str(_image_value(element, name, public=public)) for element in value)
        case bytes():
            return _binary(value)
        case _:
            return value


def _json_ready(value: Any) -> Any:
    """Bytes and sets, which a Stripe object has not, in JSON's terms."""
    match value:
        case dict():
            return {key: _json_ready(inner) for key, inner in value.items()}
        case list():
            return [_json_ready(inner) for inner in value]
        case set() | frozenset():
            return sorted(map(str, value))
        case bytes():
            return _binary(value)
        case _:
            return value


def _binary(content: bytes) -> Any:
    """Compressed JSON is a Stripe object; of anything else only length and hash remain."""
    try:
        return _stripe(json.loads(unpack(content), parse_float=Decimal), "")
    except (zlib.error, ValueError, RecursionError):
        return {"bytes": len(content), "sha256": _digest(content)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
