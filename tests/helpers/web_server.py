"""A web server on loopback, with the habits of real ones: with and without ranges, cut, wrong, redirecting."""

from __future__ import annotations

import contextlib
import http.server
import re
import ssl
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Served(NamedTuple):
    """A running server: its address without a path, and what was asked of it."""

    url: str
    log: list[tuple[str, str, str]]
    sent: list[int]


@contextlib.contextmanager
def serving(folder: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[Served]:
    """Serve a folder. The first part of a path says how: ``/ranges/a.pth``, ``/plain/...`` (no ranges), ``/cut/...``
    (each answer ends after 100,000 bytes), ``/short/...`` (a length that never comes), ``/other/...`` (another version
    for each answer), ``/file/...`` and ``/moved/...`` (redirects), ``/secret/...`` (a password), ``/500/...``."""
    served = Served("", [], [])

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            _, how, name = self.path.partition("?")[0].split("/", 2)
            served.log.append((how, name, self.headers.get("Range", "")))
            if how.isdecimal():
                return self.answer(int(how))
            if how == "file":
                return self.answer(302, Location="file:///etc/passwd")
            if how == "elsewhere":
                return self.answer(302, Location=f"http://192.0.2.1/{name}")
            if how == "moved":
                return self.answer(302, Location=f"/ranges/{name}?X-Amz-Signature=hidden")
            if how == "secret" and self.headers.get("Authorization") != "Basic dXNlcjpwYXNz":
                return self.answer(401)
            path = folder / name
            if not path.is_file():
                return self.answer(404)
            return self.send_file(path, how)

        def answer(self, status, **headers):
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send_file(self, path, how):
            size = path.stat().st_size
            first, last = 0, size - 1
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if match and not size:
                self.answer(416, Content_Range="bytes */0")
                return
            partial = match and how not in ("plain", "short")
            if partial:
                first = int(match[1])
                last = min(int(match[2] or last), last)
            length = last + 1 - first
            self.send_response(206 if partial else 200)
            if partial:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            version = f"{how}{len(served.log) if how == 'other' else ''}{path.stat().st_mtime_ns}"
            self.send_header("ETag", f'"{version}"')
            self.send_header("Content-Length", str(length))
            self.end_headers()
            whole = how in ("cut", "short") and length > 100_000
            with path.open("rb") as file:
                file.seek(first)
                left = 100_000 if whole else length
                while left:
                    block = file.read(min(left, 1 << 16))
                    try:
                        self.wfile.write(block)
                    except OSError:  # nobody listens any more
                        self.close_connection = True
                        return
                    served.sent.append(len(block))
                    left -= len(block)
            if whole:
                self.close_connection = True

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield served._replace(url=f"{scheme}://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths
