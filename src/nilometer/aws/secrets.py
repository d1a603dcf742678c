"""Secrets, cached per process, read again when the caller finds them stale."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from nilometer.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

UNSET = "unset"
_CHANGES = 3
REFRESH_SECONDS = 10  # forged signatures must not become a Secrets Manager request each
_KEY_SECONDS = 300  # until a new key of the audit is used by a process that has an older one
_KEY_CHARACTERS = 32


class SigningSecrets:
    """Stripe's endpoint secrets, `whsec_...`: several, so that they can be rotated without a gap.

    The secret's value is one secret, several separated by white space or commas, or a JSON list.
    """

    def __init__(self, client: SecretsManagerClient, *, arn: str) -> None:
        self._client = client
        self._arn = arn
        self._values: tuple[str, ...] = ()
        self._read_at = float("-inf")

    def current(self) -> tuple[str, ...]:
        """What the process has cached; the first call reads. `Misconfigured` when no secret is stored."""
        return self._values or self.refresh()

    def refresh(self) -> tuple[str, ...]:
        """Reads again, at most every ten seconds; otherwise what is cached."""
        if time.monotonic() - self._read_at >= REFRESH_SECONDS:
            self._values = self._read()
            self._read_at = time.monotonic()
        return self._values

    def stored(self) -> tuple[str, ...]:
        """What is stored now, perhaps nothing: for who changes it."""
        text = _text(self._client, self._arn)
        values = json.loads(text) if text.startswith("[") else text.replace(",", " ").split()
        return tuple(value for value in values if value.startswith("whsec_"))

    def add(self, secret: str) -> None:
        """As the first. Two who add at once may lose one of theirs, so what was written is read again."""
        self._change(lambda stored: (secret, *(one for one in stored if one != secret)))

    def remove(self, unwanted: Callable[[str], bool]) -> None:
        """Writes the others back. Like `add`, it reads again and repeats; `Unavailable` after three times."""
        self._change(lambda stored: tuple(one for one in stored if not unwanted(one)))

    def _change(self, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        for _ in range(_CHANGES):
            stored = self.stored()
            if change(stored) == stored:
                return
            self._put(change(stored))
        raise Unavailable("another process is changing the signing secrets; try again")

    def _put(self, secrets: tuple[str, ...]) -> None:
        try:
            self._client.put_secret_value(SecretId=self._arn, SecretString=" ".join(secrets) or UNSET)
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"Secrets Manager did not store the secret: {type(error).__name__}") from error

    def _read(self) -> tuple[str, ...]:
        secrets = self.stored()
        if not secrets:
            raise Misconfigured("the signing secret contains no whsec_... value; see nilometer stripe endpoint create")
        return secrets


class AuditKeys:
    """The keys that prove who wrote a row of the audit (`domain.lake.proof`): the first signs, all are believed.

    The secret's value, which `read` gives, is one key or several, separated by white space or commas. To rotate, put
    the new one in front.
    """

    @classmethod
    def stored(cls, client: SecretsManagerClient, *, arn: str) -> AuditKeys:
        """Those of a secret."""
        return cls(lambda: _text(client, arn))

    def __init__(self, read: Callable[[], str]) -> None:
        self._text = read
        self._keys: tuple[str, ...] = ()
        self._read_at = float("-inf")

    def current(self) -> tuple[str, ...]:
        """At most five minutes old."""
        return self._keys if time.monotonic() - self._read_at < _KEY_SECONDS else self._read()

    def refresh(self) -> tuple[str, ...]:
        """Reads again, at most every ten seconds; otherwise what is cached."""
        return self._keys if time.monotonic() - self._read_at < REFRESH_SECONDS else self._read()

    def _read(self) -> tuple[str, ...]:
        keys = tuple(self._text().replace(",", " ").split())
        if not keys or any(len(key) < _KEY_CHARACTERS for key in keys):
            raise Misconfigured(f"the audit's secret contains a key of less than {_KEY_CHARACTERS} characters, or none")
        self._keys, self._read_at = keys, time.monotonic()
        return keys


class StripeKey:
    """Stripe's API key as this process knows it: at most five minutes old, for it is asked for every minute."""

    def __init__(self, client: SecretsManagerClient, *, arn: str) -> None:
        self._client = client
        self._arn = arn
        self._key: str | None = None
        self._read_at = float("-inf")

    def current(self) -> str | None:
        """None while none is stored."""
        if time.monotonic() - self._read_at >= _KEY_SECONDS:
            self._key = api_key(self._client, arn=self._arn)
            self._read_at = time.monotonic()
        return self._key


def api_key(client: SecretsManagerClient, *, arn: str) -> str | None:
    """Stripe's API key, secret (`sk_...`) or restricted (`rk_...`); None while the template's placeholder is there."""
    text = _text(client, arn).strip()
    if text == UNSET:
        return None
    if not text.startswith(("sk_", "rk_")):
        raise Misconfigured("the secret has no API key of Stripe (sk_... or rk_...); store one with put-secret-value")
    return text


def _text(client: SecretsManagerClient, arn: str) -> str:
    try:
        return client.get_secret_value(SecretId=arn)["SecretString"]
    except (ClientError, BotoCoreError) as error:
        raise Unavailable(f"Secrets Manager did not answer: {type(error).__name__}") from error
