"""Files on web servers, by the standard library alone: ranges where the server has them, redirects to the web only."""

from __future__ import annotations

import base64
import http.client
import re
import ssl
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from converters._version import __version__
from converters.errors import BadInput
from converters.locations import WEB

from .address import is_loopback
from .source import BLOCK, Source, denied, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .address import Address

SILENCE = 60.0
"""Seconds without data after which a web server counts as dead. A download that goes on has no time limit."""

REDIRECTS = 10
HEAD = 64 * 1024
"""Bytes that the first request asks for: the answer says the size and whether the server has ranges."""

_PARTIAL = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_AGAIN = (401, 403, 404, 410)
"""Answers of a place that a redirect led to: such places expire."""


class WebFile(Source):
    """A file on a web server. Raises `BadInput` where the server does not give it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._place = ""
        self._whole: http.client.HTTPResponse | None = None  # what is left of the first answer
        self._connection: http.client.HTTPConnection | None = None
        self._origin: tuple[str, str] | None = None
        response = self._ask(f"bytes=0-{HEAD - 1}")
        if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # of an empty file
            self.size, self.ranges, self.version = 0, False, ""
            self.close()
            return
        self.version = _version(response)
        self.ranges = response.status == HTTPStatus.PARTIAL_CONTENT
        if not self.ranges:
            length = response.getheader("Content-Length", "")
            self.size = int(length) if length.isdecimal() else None
            self._whole = response
            return
        first, last, total = self._partial(response)
        if first != 0 or total is None:
            raise self._wrong("answers with a range that was not requested")
        self.size = total
        self.head = self._body(response, min(last + 1, HEAD, total))

    def read(self, start: int, length: int) -> bytes:
        """Exactly these bytes, in one request. Raises `OSError` where the connection fails."""
        response = self._ask(f"bytes={start}-{start + length - 1}")
        self._require_range(response, start)
        return self._body(response, length)

    def pieces(self, start: int) -> Iterator[bytes]:
        """The bytes from ``start`` on, as they come. Raises `OSError` where the connection fails."""
        response, self._whole = self._whole, None
        response = response or self._ask(f"bytes={start}-" if start else "")
        if start:
            self._require_range(response, start)
        elif response.status != HTTPStatus.OK or (self.version and _version(response) != self.version):
            raise self._changed()
        try:
            while piece := response.read(BLOCK):
                yield piece
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from None
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, part: str) -> http.client.HTTPResponse:
        """The answer to a request for a part of the file, or for all of it."""
        if self._place:
            response = self._send(self._place, part)
            if response.status not in (*_AGAIN, *_MOVED):
                return self._checked(response)
            self.close()
        url = self._address.url
        for _ in range(REDIRECTS + 1):
            response = self._send(url, part)
            if response.status not in _MOVED:
                self._place = url
                return self._checked(response)
            self.close()
            url = self._redirected(url, response.getheader("Location", ""))
        raise self._wrong("is redirected too often")

    def _redirected(self, url: str, location: str) -> str:
        try:
            target = urljoin(url, location)
            scheme = urlsplit(target).scheme
        except ValueError:
            raise self._wrong("is redirected to something that is not an address") from None
        if scheme not in WEB or not location or not target.isprintable() or " " in target:
            raise self._wrong(f"is redirected to {scheme or 'nowhere'}:, which is refused")
        if scheme == "http" and url.startswith("https:"):
            raise self._wrong("is redirected from https to http, which is refused")
        if scheme == "http" and self._address.digest is None and not is_loopback(target):
            raise self._wrong(
                "is redirected to http:// on another machine, which needs a hash in the address"
            )
        return target

    def _send(self, url: str, part: str) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        headers = {
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": f"video-checkpoint-converters/{__version__}",
            **({"Range": part} if part else {}),
            **self._authorization(parts),
        }
        target = parts.path or "/"
        target += f"?{parts.query}" if parts.query else ""
        for again in (True, False):
            fresh = self._connection is None or self._origin != (parts.scheme, parts.netloc)
            try:
                connection, prefix = self._connected(parts)
                connection.request("GET", prefix + _encoded(target), headers=headers)
                return connection.getresponse()
            except (http.client.HTTPException, OSError) as error:
                self.close()
                if fresh or not again:  # else the server has closed an idle connection
                    raise _as_os_error(error) from None
        raise AssertionError("the second request returns or raises")

    def _connected(self, parts: SplitResult) -> tuple[http.client.HTTPConnection, str]:
        """A connection to the server, or to the proxy of the environment, and what stands before the path."""
        origin = parts.scheme, parts.netloc
        host, port = parts.hostname or "", parts.port
        proxy = None if proxy_bypass(host) else getproxies().get(parts.scheme)
        prefix = f"http://{parts.netloc.rpartition('@')[2]}" if proxy and parts.scheme == "http" else ""
        if self._connection is not None and self._origin == origin:
            return self._connection, prefix
        self.close()
        self._origin = origin
        via = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else None
        place = (via.hostname or "", via.port) if via else (host, port)
        if parts.scheme == "https":
            secure = http.client.HTTPSConnection(
                *place, timeout=SILENCE, context=ssl.create_default_context()
            )
            if via:
                secure.set_tunnel(host, port or 443, headers=_basic("Proxy-Authorization", via))
            self._connection = secure
        else:
            self._connection = http.client.HTTPConnection(*place, timeout=SILENCE)
        return self._connection, prefix

    def _authorization(self, parts: SplitResult) -> dict[str, str]:
        """The credentials in the address, or in ``.netrc``: for this server alone, whatever it redirects to."""
        own = urlsplit(self._address.url)
        if (parts.scheme, parts.hostname, parts.port) == (
            own.scheme,
            own.hostname,
            own.port,
        ) and own.username:
            return _basic("Authorization", own)
        with suppress(Exception):  # no such file, or one that cannot be parsed
            from netrc import netrc

            found = netrc().authenticators(parts.hostname or "")
            if found and parts.scheme == "https":
                return {"Authorization": _token(found[0], found[2] or "")}
        return {}

    def _checked(self, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        status = response.status
        if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            if response.getheader("Content-Encoding", "identity").lower() != "identity":
                raise self._wrong("comes in an encoding that was not requested")
            return response
        self.close()
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise missing(self._address)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise denied(self._address)
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
        if status in (408, 429) or status >= 500:
            raise Unavailable(f"cannot be reached: {status} {phrase}".rstrip(), path=self._address.shown)
        raise self._wrong(f"cannot be reached: {status} {phrase}".rstrip())

    def _partial(self, response: http.client.HTTPResponse) -> tuple[int, int, int | None]:
        match = _PARTIAL.fullmatch(response.getheader("Content-Range", ""))
        if match is None:
            raise self._wrong("answers with a range without saying which bytes it holds")
        return int(match[1]), int(match[2]), int(match[3]) if match[3] != "*" else None

    def _require_range(self, response: http.client.HTTPResponse, start: int) -> None:
        """Raise `BadInput` unless an answer is the range from ``start`` on of the file that was found at first."""
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            self.close()
            raise self._changed()
        first, _, total = self._partial(response)
        if first != start:
            raise self._wrong("answers with a range that was not requested")
        if total not in (None, self.size) or _version(response) != self.version:
            raise self._changed()

    def _body(self, response: http.client.HTTPResponse, length: int) -> bytes:
        try:
            data = response.read(length)
            if len(data) != length:
                raise ConnectionError(f"{len(data):,} of {length:,} bytes arrived")
            if response.read(1):
                self.close()
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise _as_os_error(error) from None
        return data

    def _changed(self) -> BadInput:
        self.close()
        return BadInput(
            "changed while it was read",
            path=self._address.shown,
            hint="run it again when nobody writes to it",
        )

    def _wrong(self, what: str) -> BadInput:
        self.close()
        return BadInput(what, path=self._address.shown, hint="check the address")


_MOVED = (301, 302, 303, 307, 308)


class Unavailable(BadInput):
    """The server cannot answer now."""


def _version(response: http.client.HTTPResponse) -> str:
    """What changes with the file's content, as far as the server says."""
    return response.getheader("ETag", "") or response.getheader("Last-Modified", "")


def _as_os_error(error: Exception) -> OSError:
    return error if isinstance(error, OSError) else ConnectionError(type(error).__name__)


def _encoded(target: str) -> str:
    """A path and query in ASCII."""
    from urllib.parse import quote

    return quote(target, safe="!$%&'()*+,/:;=?@[]~-._")


def _basic(header: str, parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    return {header: _token(unquote(parts.username), unquote(parts.password or ""))}


def _token(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
