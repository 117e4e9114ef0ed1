"""Writes ``.safetensors`` files without the library and without numpy.

Eight bytes with the header's length, a header in JSON padded with spaces to a multiple of eight, and the tensors'
bytes without gaps. They are sorted by falling element size, as by the library's own writer, so that every tensor is
aligned to its elements. The header names them in the order given.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from converters.errors import Refused
from converters.formats.io.crc32 import crc32_function
from converters.tensor import ITEMSIZE, known_crc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from converters.formats.format import Content
    from converters.formats.io.crc32 import Crc32
    from converters.formats.io.output_stream import Output
    from converters.tensor import Tensor

DTYPE = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""safetensors' name of each dtype."""

HEADER_LIMIT = 100_000_000
"""The longest header that the safetensors library reads, in bytes."""


def write_safetensors(
    out: Output,
    tensors: Sequence[Tensor],
    *,
    metadata: Mapping[str, str] | Callable[[list[int]], Mapping[str, str]],
    progress: Callable[[int], None] | None = None,
    crc: Crc32 | None = None,
) -> list[int] | None:
    """Write ``tensors`` and return the CRC-32 of each tensor's bytes, or None if no ``crc`` function is given.

    ``metadata`` comes first in the header, under ``__metadata__``, sorted by key. A function is called for it twice:
    before the data with zeros for the CRCs and, given ``crc``, after the data with the CRCs; both results must take
    the same number of bytes. ``progress`` is called with the number of bytes of each chunk.

    Raises `Refused` if the format cannot hold a name or the header; `ValueError` if a name occurs twice, if the
    length of a tensor's data contradicts its shape, or if the second metadata differs in length from the first.
    """
    crcs = [0] * len(tensors)
    header = _header(tensors, metadata(crcs) if callable(metadata) else metadata, out.path)
    out.write(header)
    write = out.write
    for index in _layout(tensors):
        tensor = tensors[index]
        known = known_crc(tensor.data)
        value = known or 0
        start = out.position
        for chunk in tensor.data.chunks():
            if crc is not None and known is None:
                value = crc(chunk, value)
            write(chunk)
            if progress is not None:
                progress(len(chunk))
        if out.position - start != tensor.nbytes:
            raise ValueError(
                f"{tensor.name}: {out.position - start} bytes of data, {tensor.nbytes} by its shape"
            )
        if crc is not None:
            out.note(start, value)
        crcs[index] = value
    if crc is None:
        return None
    if callable(metadata):
        final = _header(tensors, metadata(crcs), out.path)
        if len(final) != len(header):
            raise ValueError(f"the header took {len(header)} bytes before the data and {len(final)} after it")
        out.rewrite(0, final)
    return crcs


def _layout(tensors: Sequence[Tensor]) -> list[int]:
    """The indices of the tensors, in the order of their bytes in the file."""
    itemsizes = [ITEMSIZE[tensor.dtype] for tensor in tensors]
    return sorted(range(len(tensors)), key=lambda index: -itemsizes[index])


def _header(tensors: Sequence[Tensor], metadata: Mapping[str, str], path: str) -> bytes:
    """The length and the header, together a multiple of eight bytes."""
    spans = [(0, 0)] * len(tensors)
    offset = 0
    for index in _layout(tensors):
        spans[index] = (offset, offset + tensors[index].nbytes)
        offset = spans[index][1]
    entries: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    for tensor, span in zip(tensors, spans, strict=True):
        if tensor.name == "__metadata__":
            raise Refused("a tensor cannot be named __metadata__ in a safetensors file", path=path)
        if tensor.name in entries:
            raise ValueError(f"{tensor.name}: the name occurs twice")
        entries[tensor.name] = {"dtype": DTYPE[tensor.dtype], "shape": tensor.shape, "data_offsets": span}
    try:
        text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise Refused(
            "a name is not valid Unicode, as safetensors requires",
            path=path,
            where=ascii(error.object[max(0, error.start - 40) : error.end]),
            hint="write a .pth",
        ) from None
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        raise Refused(
            f"the header would take {len(text):,} bytes, safetensors allows {HEADER_LIMIT:,}",
            path=path,
            hint="write a .pth",
        )
    return len(text).to_bytes(8, "little") + text


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write a file with the provenance in its metadata."""
    (out,) = outputs
    write_safetensors(
        out,
        content.tensors,
        crc=crc32_function(),
        progress=content.progress,
        metadata=lambda crcs: {"format": "pt", "provenance": content.provenance(crcs)},
    )
