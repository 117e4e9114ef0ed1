"""The zip container of a ``.pth``, as torch's own writer lays it out, written from front to back.

Stored records under the root ``archive``, each beginning at a multiple of 64 bytes after a padding
field, sizes and CRC in a data descriptor after the bytes, no date, and always a zip64 end record. The
layout was read off files that torch 2.13 wrote, those over 4 GB included, and is kept byte for byte.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from converters.formats.io.crc32 import Crc32
    from converters.formats.io.output_stream import Output

ALIGNMENT = 64
"""Every record's bytes begin at a multiple of this."""

ROOT = "archive/"
"""The folder of all records."""

_LIMIT = 0xFFFFFFFF  # sizes and offsets from here on need zip64 fields
# signature, version, flags, method, date, CRC, two sizes, lengths of name and extra
_LOCAL = Struct("<4sHHHIIIIHH")
_CENTRAL = Struct("<4sHHHHIIIIHHHHHII")
_DESCRIPTOR = Struct("<4sIII")
_DESCRIPTOR64 = Struct("<4sIQQ")
_END64 = Struct("<4sQHHIIQQQQ")
_LOCATOR64 = Struct("<4sIQI")
_END = Struct("<4sHHHHIIH")
_UTF8 = 0x0800
_DESCRIBED = 0x0008


class Archive:
    """The records written so far. Call `begin`, write the bytes to ``out``, call `end`; after the last record
    `close`."""

    def __init__(self, out: Output, crc: Crc32) -> None:
        self._out = out
        self._crc = crc
        self._central = bytearray()
        self._records = 0
        self._names = 0  # fold of the names' CRCs
        self._contents = 0  # fold of the contents' CRCs
        self._current = (b"", 0, 0)

    def record(self, name: str, content: bytes) -> None:
        """Write a whole small record."""
        self.begin(name, len(content))
        self._out.write(content)
        self.end(self._crc(content, 0))

    def begin(self, name: str, size: int) -> None:
        """Write the header of a record of ``size`` bytes."""
        offset = self._out.position
        path = f"{ROOT}{name}".encode()
        large = b""
        if size >= _LIMIT:
            large += size.to_bytes(8, "little") + bytes(8)
        if offset >= _LIMIT:
            large += offset.to_bytes(8, "little")
        extra = _zip64(large)
        pad = -(offset + _LOCAL.size + len(path) + len(extra) + 4) % ALIGNMENT
        extra += b"FB" + pad.to_bytes(2, "little") + b"Z" * pad
        flags = _UTF8 | _DESCRIBED if size else _UTF8
        self._out.write(_LOCAL.pack(b"PK\3\4", 0, flags, 0, 0, 0, 0, 0, len(path), len(extra)) + path + extra)
        self._names = _fold(self._names, self._crc(path, 0))
        self._current = (path, offset, size)

    def end(self, crc: int) -> None:
        """Write the descriptor of the current record, and note its directory entry."""
        path, offset, size = self._current
        large = b""
        if size >= _LIMIT:
            large += size.to_bytes(8, "little") * 2
        if offset >= _LIMIT:
            large += offset.to_bytes(8, "little")
        extra = _zip64(large)
        flags = _UTF8
        if size:  # torch's writer describes no empty record
            flags |= _DESCRIBED
            descriptor = _DESCRIPTOR64 if extra else _DESCRIPTOR
            self._out.write(descriptor.pack(b"PK\7\b", crc, size, size))
            self._contents = _fold(self._contents, crc)
        size = min(size, _LIMIT)
        offset = min(offset, _LIMIT)
        self._central += _CENTRAL.pack(
            b"PK\1\2", 0, 0, flags, 0, 0, crc, size, size, len(path), len(extra), 0, 0, 0, 0, offset
        )
        self._central += path + extra
        self._records += 1

    def close(self, serialization_id: str | None = None) -> None:
        """Write the last record, ``.data/serialization_id``, and the directory.

        The identifier has 40 digits. The last 20 combine the contents' CRCs, as torch's do; torch's first 20 come
        from the hash function of its C++ library, these from the names' CRCs.
        """
        computed = f"{self._names:020d}{self._contents:020d}"
        self.record(".data/serialization_id", (serialization_id or computed).encode())
        start, size, count = self._out.position, len(self._central), self._records
        count16 = min(count, 0xFFFF)
        self._out.write(self._central)
        self._out.write(
            _END64.pack(b"PK\6\6", _END64.size - 12, 0x031E, 45, 0, 0, count, count, size, start)
            + _LOCATOR64.pack(b"PK\6\7", 0, start + size, 1)
            + _END.pack(b"PK\5\6", 0, 0, count16, count16, min(size, _LIMIT), min(start, _LIMIT), 0)
        )


def _zip64(fields: bytes) -> bytes:
    return b"\1\0" + len(fields).to_bytes(2, "little") + fields if fields else b""


def _fold(seed: int, value: int) -> int:
    """Combines hashes as torch does (boost's ``hash_combine`` in 64 bits)."""
    return (seed ^ (value + 0x9E3779B9 + (seed << 6) + (seed >> 2))) & 0xFFFFFFFFFFFFFFFF
