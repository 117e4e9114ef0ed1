"""Writes numpy's ``.npz`` and ``.npy`` without numpy, byte for byte as ``numpy.savez`` and ``numpy.save`` do.

An ``.npz`` is a zip file of stored ``.npy`` members; it is what Chainer's ``load_npz`` reads.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from converters.errors import Refused
from converters.formats.io.crc32 import crc32_function
from converters.tensor import NUMPY_CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from converters.formats.io.crc32 import Crc32
    from converters.formats.io.output_stream import Output
    from converters.tensor import Tensor

_CODES = {dtype: f"{'|' if code.endswith('1') else '<'}{code}" for code, dtype in NUMPY_CODES.items()}
_ALIGN = 64
_GROWTH = 21  # characters that numpy leaves for a first size that grows
_LIMIT = 0xFFFFFFFF  # sizes and offsets from here on need zip64 fields in the directory
_DATE = 1 << 5 | 1  # 1 January 1980
_MODE = 0o600 << 16
# signature, version, flags, method, time, date, CRC, two sizes, lengths of name and extra
_LOCAL = Struct("<4s5H3I2H")
_LOCAL64 = Struct("<2H2Q")
_CENTRAL = Struct("<4s6H3I5H2I")
_END64 = Struct("<4sQHHIIQQQQ")
_LOCATOR64 = Struct("<4sIQI")
_END = Struct("<4sHHHHIIH")


def write_npz(
    out: Output,
    tensors: Sequence[Tensor],
    *,
    crc: Crc32 | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[int]:
    """Write ``tensors`` in order, each as the member ``NAME.npy``, and return the CRC-32 of each tensor's bytes.

    Only the names and one chunk of data are in memory. Raises `Refused` for a name that occurs twice and a dtype that
    numpy lacks.
    """
    checksum = crc if crc is not None else crc32_function()
    central = bytearray()
    crcs = []
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise Refused(f"the array {tensor.name} occurs twice", hint="an .npz has one of each name")
        seen.add(tensor.name)
        name = f"{tensor.name}.npy".encode()
        flags = 0 if name.isascii() else 0x0800
        header = npy_header(tensor)
        offset, size = out.position, len(header) + tensor.nbytes
        out.write(_local(flags, name, 0, size) + header)
        value, whole, start = 0, checksum(header, 0), out.position
        for chunk in tensor.data.chunks():
            value = checksum(chunk, value)
            whole = checksum(chunk, whole)
            out.write(chunk)
            if progress is not None:
                progress(len(chunk))
        if out.position - offset != size + len(_local(flags, name, 0, size)):
            raise ValueError(f"{tensor.name}: its data has another length than its shape says")
        out.note(start, value)
        out.rewrite(offset, _local(flags, name, whole, size))
        crcs.append(value)
        central += _entry(flags, name, whole, size, offset)
    start, count = out.position, len(crcs)
    out.write(central)
    if max(start, len(central)) >= _LIMIT or count > 0xFFFF:
        out.write(
            _END64.pack(b"PK\6\6", _END64.size - 12, 45, 45, 0, 0, count, count, len(central), start)
            + _LOCATOR64.pack(b"PK\6\7", 0, start + len(central), 1)
        )
    few = min(count, 0xFFFF)
    out.write(_END.pack(b"PK\5\6", 0, 0, few, few, min(len(central), _LIMIT), min(start, _LIMIT), 0))
    return crcs


def write_npy(out: Output, tensor: Tensor) -> None:
    """Write one array as an ``.npy``. Raises `Refused` for a dtype that numpy lacks."""
    out.write(npy_header(tensor))
    for chunk in tensor.data.chunks():
        out.write(chunk)


def npy_header(tensor: Tensor) -> bytes:
    """The header of an ``.npy``: format version 1.0, padded so that the data start at a multiple of 64 bytes."""
    if tensor.dtype not in _CODES:
        raise Refused(
            f"numpy has no {tensor.dtype}", where=tensor.name, hint="cast it, as with --dtype float32"
        )
    text = f"{{'descr': '{_CODES[tensor.dtype]}', 'fortran_order': False, 'shape': {tensor.shape}, }}"
    if tensor.shape:
        text += " " * (_GROWTH - len(str(tensor.shape[0])))
    room = -(10 + len(text) + 1) % _ALIGN
    line = text.encode("latin-1") + b" " * room + b"\n"
    return b"\x93NUMPY\1\0" + len(line).to_bytes(2, "little") + line


def _local(flags: int, name: bytes, crc: int, size: int) -> bytes:
    """A local header, with the sizes in a zip64 field as numpy always has them."""
    extra = _LOCAL64.pack(1, 16, size, size)
    return (
        _LOCAL.pack(b"PK\3\4", 45, flags, 0, 0, _DATE & 0xFFFF, crc, _LIMIT, _LIMIT, len(name), len(extra))
        + name
        + extra
    )


def _entry(flags: int, name: bytes, crc: int, size: int, offset: int) -> bytes:
    """An entry of the directory, with a zip64 field if it needs one."""
    large = b""
    if size >= _LIMIT:
        large += size.to_bytes(8, "little") * 2
    if offset >= _LIMIT:
        large += offset.to_bytes(8, "little")
    extra = b"\1\0" + len(large).to_bytes(2, "little") + large if large else b""
    small, place = min(size, _LIMIT), min(offset, _LIMIT)
    return (
        _CENTRAL.pack(
            b"PK\1\2", 0x0300 | 45, 45, flags, 0, 0, _DATE, crc, small, small, len(name), len(extra), 0, 0, 0,
            _MODE, place,
        )
        + name
        + extra
    )  # fmt: skip
