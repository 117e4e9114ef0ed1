"""Addresses of remote files: what is asked of the store, and what people and records see of it."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from converters.errors import BadInput, UsageError
from converters.locations import SCHEMES, WEB, without_credentials

_DIGEST = re.compile(r"(sha256|sha1|git)=([0-9a-f]{8,64})")
_LENGTHS = {"sha256": 64, "sha1": 40, "git": 40}
_HUB = re.compile(
    r"hf://(?P<repository>(?:(?:datasets|spaces|models)/)?[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?/?(?P<file>.*)"
)
_LONGEST = 8192


class Digest(NamedTuple):
    """A known hash: ``sha256``, ``sha1``, or ``git`` for git's id of a blob, and its hexadecimal digits, all or the
    first."""

    kind: str
    digits: str


class Address(NamedTuple):
    """Where a file is. ``url`` is what is asked for, with all credentials and without a fragment; ``shown`` has none;
    ``name`` is the file's name, empty for a repository or a folder; ``digest`` is the hash in the fragment, if there is
    one (``#sha256=...``, as pip writes it)."""

    url: str
    shown: str
    name: str
    digest: Digest | None

    @property
    def scheme(self) -> str:
        """What stands before ``://``."""
        return self.url.partition("://")[0]

    def beside(self, name: str) -> Address:
        """The address of another file in its folder; the query, which may sign this one file, is not taken over."""
        head = self.url.partition("?")[0] if self.scheme in WEB else self.url
        return parse_address(f"{head.rpartition('/')[0]}/{name}")

    def with_suffix(self, suffix: str) -> Address:
        """The address with something after its name, and before its query."""
        head, mark, query = self.url.partition("?") if self.scheme in WEB else (self.url, "", "")
        return parse_address(f"{head}{suffix}{mark}{query}")


def parse_address(text: str) -> Address:
    """An address in its parts. Raises `UsageError` for a scheme or a fragment that is not known, `BadInput` for what is
    no address."""
    scheme = text.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise UsageError(f"{scheme}:// is not supported", hint=f"supported are {', '.join(SCHEMES)}")
    url, _, fragment = text.partition("#")
    url = scheme + url[len(scheme) :]
    seen = without_credentials(url)
    if len(url) > _LONGEST or not url.isprintable() or " " in url:
        raise BadInput("is not an address", path=seen[:200], hint="write spaces as %20")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise BadInput("is not an address: it names no host, bucket or repository", path=seen)
    path = parts.path if scheme in WEB else url
    name = _name(path)
    if scheme == "hf":
        match = _HUB.fullmatch(url)
        if match is None:
            raise UsageError(f"{seen!r} names no repository", hint="hf://owner/repository[@revision]/file")
        name = _name(f"/{match['file']}")
    elif scheme not in WEB and url.count("/") < 3:
        raise UsageError(f"{seen!r} names no file", hint=f"{scheme}://bucket/file")
    return Address(url, seen, name, _digest(fragment, seen))


def hub_parts(url: str) -> tuple[str, str | None, str]:
    """Repository, revision and file of an ``hf://`` address."""
    match = _HUB.fullmatch(url)
    assert match is not None
    return match["repository"], match["revision"], match["file"]


def is_loopback(url: str) -> bool:
    """Whether a web address is on this very machine."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _name(path: str) -> str:
    """The name of a file, of the last part of a path, as a file system can hold it; empty where there is none."""
    last = path.rpartition("/")[2]
    name = unquote(last)
    if not name.isprintable() or "/" in name or "\\" in name:
        name = last
    return "" if name in ("", ".", "..") else name[-200:]


def _digest(fragment: str, seen: str) -> Digest | None:
    if not fragment:
        return None
    match = _DIGEST.fullmatch(fragment.lower())
    if match is None or len(match[2]) > _LENGTHS[match[1]]:
        raise UsageError(f"{seen!r} ends in #..., which is not a hash", hint="write #sha256= and its digits")
    return Digest(match[1], match[2])
