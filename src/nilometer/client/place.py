"""Where the API is, and with which key: what is handed in, else the environment, else the stack on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping

from nilometer.errors import Misconfigured

URL, KEY = "NILOMETER_URL", "NILOMETER_KEY"
Place = tuple[str, str | None, tuple[str, str]]
"""The API's URL, its key, and for a local stack without one the path and the secret that it gives a key for."""


def place(url: str | None, key: str | None, environment: Mapping[str, str] = os.environ) -> Place:
    """From the arguments, the environment, or the newest stack that runs here.

    `Misconfigured` when there is no URL and no stack runs here, no key for a URL, or what cannot be a key.
    """
    url, key = url or environment.get(URL), (key or environment.get(KEY) or "").strip()  # `echo` ends in a newline
    if not key.isascii() or not key.isprintable():
        raise Misconfigured(f"the key has characters that no key has; copy it anew into {KEY}")
    if url:
        if not key:
            raise Misconfigured(f"there is no key for {url}: set {KEY}; `nilometer key create` makes one")
        return url.rstrip("/"), key, ("", "")
    from nilometer.local.plane import discovery  # noqa: PLC0415  # not needed where a URL is given

    found = discovery.find()
    return found.origin, key or None, (discovery.KEY_PATH, found.stripe_secret or "")
