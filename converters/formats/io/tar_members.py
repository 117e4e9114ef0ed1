"""Finds the members of a tar archive: ustar headers, with the extended ones of POSIX (pax).

Only what PyTorch up to 0.1.9 wrote is read: regular files with short names. Anything else ends the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BadInput

if TYPE_CHECKING:
    from converters.files import SourceFile

BLOCK = 512
_MEMBERS = 64  # headers that are looked at; PyTorch's archives have four members
_EXTENDED = 64 * 1024  # bytes of one extended header


def read_tar(file: SourceFile) -> dict[str, tuple[int, int]]:
    """Offset and size of the leading regular files by name. Raises `BadInput` for a damaged header, a member that
    occurs twice, and a member that extends beyond the file."""
    found: dict[str, tuple[int, int]] = {}
    at = 0
    extended: dict[str, str] = {}
    for _ in range(_MEMBERS):
        header = file.read_at(at, min(BLOCK, file.size - at))
        if not header.strip(b"\0"):
            break
        if len(header) < BLOCK or header[257:262] != b"ustar" or not _sums_up(header):
            raise BadInput("is a tar archive with a damaged header", path=file.path, where=f"offset {at:,}")
        size = _number(file, at, header[124:136])
        kind = header[156:157]
        name = extended.get("path", header[:100].rstrip(b"\0").decode("latin-1"))
        at += BLOCK
        if kind in (b"0", b"\0"):
            wide = extended.get("size", "")
            size = int(wide) if wide.isascii() and wide.isdigit() and len(wide) < 20 else size
        if size > file.size - at:
            raise file.cut(at, size)
        if kind == b"x":
            if size > _EXTENDED:
                raise BadInput(
                    "is a tar archive with a damaged header", path=file.path, where=f"offset {at:,}"
                )
            extended = _records(file.read_at(at, size))
        elif kind in (b"0", b"\0"):
            if name in found:
                raise BadInput("is a tar archive with a member twice", path=file.path)
            found[name] = (at, size)
            extended = {}
        at = min(at + -(-size // BLOCK) * BLOCK, file.size)
    return found


def _number(file: SourceFile, at: int, field: bytes) -> int:
    """An octal number, or a binary one if its first bit is set."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise BadInput(
            "is a tar archive with a damaged header", path=file.path, where=f"offset {at:,}"
        ) from None


def _sums_up(header: bytes) -> bool:
    """Whether the header's checksum is correct; its own bytes count as spaces."""
    try:
        wanted = int(header[148:156].strip(b" \0") or b"-1", 8)
    except ValueError:
        return False
    return wanted == sum(header[:148]) + 8 * 32 + sum(header[156:])


def _records(data: bytes) -> dict[str, str]:
    """``LENGTH KEY=VALUE`` lines, as far as they are valid."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        length, space, _ = data[at : at + 20].partition(b" ")
        if not space or not length.isdigit() or not len(length) + 1 < int(length) <= len(data) - at:
            break
        key, _, value = data[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        found[key.decode("latin-1")] = value.decode("latin-1")
        at += int(length)
    return found
