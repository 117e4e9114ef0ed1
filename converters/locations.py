"""Where files are: paths, or addresses of remote files, and what people and records may see of an address."""

from __future__ import annotations

import os

WEB = ("https", "http")

SCHEMES = (*WEB, "s3", "gs", "hf")
"""What an address may begin with."""

_HARMLESS = frozenset(
    {"dl", "download", "export", "file", "filename", "id", "path", "raw", "ref", "rev", "revision"}
    | {"v", "version", "versionid"}
)
"""Parameters of a query that are shown. All others may be a signature or a token."""


def is_remote(location: str) -> bool:
    """Whether a location is an address, ``scheme://...``, outside this machine's file systems."""
    scheme, separator, _ = location.partition("://")
    return bool(separator) and scheme.isascii() and scheme.isalnum() and scheme.lower() != "file"


def without_credentials(location: str) -> str:
    """A location as people and records see it: a path as it is; an address without user, password and fragment, and
    of its query only what cannot be a credential."""
    if not is_remote(location):
        return location
    scheme, _, rest = location.partition("#")[0].partition("://")
    scheme = scheme.lower()
    if scheme == "hf":
        return f"{scheme}://{rest}"
    if scheme not in WEB:
        host, slash, path = rest.partition("/")
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

    try:
        parts = urlsplit(f"{scheme}://{rest}")
        query = [(name, value) for name, value in parse_qsl(parts.query) if name.lower() in _HARMLESS]
    except ValueError:
        return f"{scheme}://..."
    return urlunsplit((scheme, parts.netloc.rpartition("@")[2], parts.path, urlencode(query), ""))


def name_of(location: str) -> str:
    """The name of the file or folder at a location, which has no credentials."""
    if not location.lower().startswith(("http://", "https://")):
        return os.path.basename(location if is_remote(location) else os.path.normpath(location))
    from urllib.parse import unquote

    return unquote(location.partition("?")[0].rpartition("/")[2])
