"""S3 under its own host name: a proxy that ends TLS for it and hands each byte to an engine on this machine."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

S3 = "s3.us-east-1.amazonaws.com"
GLOBAL = "s3.amazonaws.com"  # by which boto3 calls S3 of us-east-1


@dataclass
class TlsEnd:
    """Where clients are sent to, whom they must trust, and which hosts they asked for over TLS."""

    url: str
    authority: Path
    hosts: list[str] = field(default_factory=list)


@contextlib.contextmanager
def s3_by_its_name(engine_url: str, folder: Path) -> Iterator[TlsEnd]:
    """While this lasts, `HTTPS_PROXY` at `url` with `SSL_CERT_FILE` at `authority` leads to the engine."""
    certificate, key = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    listening = socket.create_server(("127.0.0.1", 0))
    end = TlsEnd(f"http://127.0.0.1:{listening.getsockname()[1]}", certificate)
    address = urlsplit(engine_url)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=_tunnel, args=(client, context, address.hostname, address.port, end)).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield end
    finally:
        listening.close()


def _tunnel(client: socket.socket, context: ssl.SSLContext, host: str, port: int, end: TlsEnd) -> None:
    """`CONNECT host:443`, then TLS with that name, then bytes both ways."""
    with contextlib.suppress(OSError), client:
        asked = client.recv(65536).split()
        end.hosts.append(asked[1].decode().partition(":")[0])
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with context.wrap_socket(client, server_side=True) as secure, socket.create_connection((host, port)) as engine:
            threading.Thread(target=_pump, args=(engine, secure), daemon=True).start()
            _pump(secure, engine)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Self-signed, for S3's host names; a client trusts it only if its CA file names it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, S3)])
    hosts = (S3, f"*.{S3}", GLOBAL, f"*.{GLOBAL}")
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(map(x509.DNSName, hosts)), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "s3.pem", folder / "s3.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form, syntax = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(form, syntax, serialization.NoEncryption()))
    return certificate, private
