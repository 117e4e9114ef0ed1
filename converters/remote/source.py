"""What every kind of store gives of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .address import Address, Digest

BLOCK = 1 << 20
"""Bytes per transfer."""


class Missing(BadInput):
    """There is no file at an address."""


def missing(address: Address) -> Missing:
    """The error for a file that is not there."""
    return Missing("does not exist", path=address.shown, hint="check the address")


def denied(address: Address) -> BadInput:
    """The error for a file that the user may not read."""
    return BadInput("access is denied", path=address.shown, hint="check the credentials and permissions")


class Source:
    """A remote file. ``size`` is None where the store does not say it; ``version`` changes with the content, and is
    empty where the store has none. ``ranges`` says whether parts can be read, ``head`` are the first bytes if they came
    with the answer, ``digest`` is the store's own hash of the file."""

    size: int | None
    version: str
    ranges: bool
    head: bytes = b""
    digest: Digest | None = None

    def read(self, start: int, length: int) -> bytes:
        """Exactly these bytes."""
        raise NotImplementedError

    def pieces(self, start: int) -> Iterator[bytes]:
        """The bytes from ``start`` on, to the end or to where the connection is cut."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of connections."""
