"""Who issues tokens, as an OIDC provider does: a key of its own, published for whoever verifies."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


@dataclass(frozen=True)
class Issuer:
    """`url` has the key below `/.well-known`."""

    url: str
    key: RSAPrivateKey

    def token(self, claims: Mapping[str, Any]) -> str:
        """Valid for five minutes unless the claims say otherwise."""
        now = int(time.time())
        return jwt.encode({"iss": self.url, "iat": now, "exp": now + 300, **claims}, self.key, "RS256", {"kid": "one"})


@contextmanager
def issuing() -> Iterator[Issuer]:
    """With a fresh key, on a free port."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    keys = {"keys": [{**public, "kid": "one", "alg": "RS256", "use": "sig"}]}

    class Published(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            about = {"issuer": url, "jwks_uri": f"{url}/.well-known/jwks.json"}
            content = json.dumps(keys if self.path.endswith("jwks.json") else about).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Published)
    url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Issuer(url, key)
    finally:
        server.shutdown()
        server.server_close()
