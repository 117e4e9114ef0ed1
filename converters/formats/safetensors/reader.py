"""Reads ``.safetensors`` files without the library: every length is checked before it is used."""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.formats.other_value import unconverted
from converters.formats.pickle.numpy_arrays import refuse_too_many
from converters.tensor import ITEMSIZE, FileBytes, Tensor

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.other_value import OtherValue

DTYPE = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""Our name of each dtype of safetensors that a state dict can hold."""

_OTHER_BITS = {
    "U64": ("uint64", 64),
    "U32": ("uint32", 32),
    "U16": ("uint16", 16),
    "C64": ("complex64", 64),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "F6_E2M3": ("float6_e2m3", 6),
    "F6_E3M2": ("float6_e3m2", 6),
    "F4": ("float4_e2m1", 4),
}
"""Our name, and the bits of an element, of each further dtype that safetensors 0.6 has."""

HEADER_LIMIT = 100_000_000
"""The longest header that is read, in bytes; the safetensors library has the same limit."""

_MARKS = 1 << 21
"""The most commas and opening brackets in a header. A tensor needs about a dozen, and each stands for a value that
takes a hundred bytes of memory but only three in the file."""

_AXES = 64  # more than torch and numpy can have
_FIELDS = {"dtype", "shape", "data_offsets"}


class SafetensorsFile(NamedTuple):
    """The tensors by name, in the header's order, and the header's ``__metadata__``. ``other_values`` are the tensors
    of dtypes that are not converted."""

    tensors: dict[str, Tensor]
    other_values: dict[str, OtherValue]
    metadata: dict[str, str]


def read_safetensors(file: SourceFile) -> SafetensorsFile:
    """Read the header; the tensors' bytes stay in the file.

    As the safetensors library requires, the header is a JSON object of at most 100 MB without duplicate keys, and the
    tensors cover all bytes after it without gaps or overlaps, each as many as its shape and dtype ask for. Raises
    `BadInput` for anything else, and for more tensors than any checkpoint has.
    """
    if file.size < 9 or file.read_at(8, 1) != b"{":
        raise BadInput("is not a safetensors file", path=file.path)
    length = int.from_bytes(file.read_at(0, 8), "little")
    if length > HEADER_LIMIT:
        raise BadInput(
            f"is not a safetensors file: its header would be {length:,} bytes, {HEADER_LIMIT:,} are allowed",
            path=file.path,
        )
    text = file.read_at(8, length)
    if sum(map(text.count, (b",", b"[", b"{"))) > _MARKS:
        raise BadInput("has a header with more values than any checkpoint needs", path=file.path)
    header = _parse(text, file.path)
    start = 8 + length
    metadata = _metadata(header.pop("__metadata__", None), file.path)
    refuse_too_many(file, header)
    tensors: dict[str, Tensor] = {}
    other_values: dict[str, OtherValue] = {}
    spans = []
    for name, entry in header.items():
        code, shape, begin, end = _entry(name, entry, file.size - start, file.path)
        data = FileBytes(file, start + begin, end - begin)
        if code in DTYPE:
            tensors[name] = Tensor(name, DTYPE[code], shape, data)
        else:
            other_values[name] = unconverted(_OTHER_BITS[code][0], shape, data)
        spans.append((begin, end, name))
    expected = 0
    for begin, end, name in sorted(spans):
        if begin != expected:
            what = "overlaps another tensor" if begin < expected else "begins after a gap"
            raise BadInput(
                f"{what}: offset {begin:,}, {expected:,} expected", path=file.path, where=_tensor_words(name)
            )
        expected = end
    if expected != file.size - start:
        raise BadInput(
            f"has {file.size - start - expected:,} bytes after the last tensor that belong to none",
            path=file.path,
        )
    return SafetensorsFile(tensors, other_values, metadata)


def _parse(text: bytes, path: str) -> dict[str, object]:
    try:
        # Decoded first: json.loads would take UTF-16 and UTF-32 too.
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise BadInput("has a header that is nested too deeply", path=path) from None
    except UnicodeDecodeError as error:
        raise BadInput(
            "has a header that is not UTF-8", path=path, where=f"offset {8 + error.start}"
        ) from None
    except json.JSONDecodeError as error:
        raise BadInput(
            f"has a header that is not JSON: {error.msg.lower()}", path=path, where=f"character {error.pos}"
        ) from None
    except ValueError as error:  # _object, _constant, and numbers of thousands of digits
        raise BadInput(f"has a header that is not valid: {str(error).split(';')[0]}", path=path) from None
    assert type(header) is dict  # it begins with a brace
    return header


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {_short_text(key)} occurs twice")
            seen.add(key)
    return entries


def _constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON number")


def _metadata(entries: object, path: str) -> dict[str, str]:
    if entries is None:
        return {}
    if type(entries) is not dict:
        raise BadInput("has a __metadata__ that is not an object of strings", path=path)
    metadata: dict[str, str] = {}
    for key, value in entries.items():
        if type(value) is not str:
            raise BadInput("has metadata that is not text", path=path, where=f"key {_short_text(key)}")
        if not _encodes(key) or not _encodes(value):
            raise BadInput(
                "has metadata that is not valid Unicode", path=path, where=f"key {_short_text(key)}"
            )
        metadata[key] = value
    return metadata


def _entry(name: str, entry: object, room: int, path: str) -> tuple[str, tuple[int, ...], int, int]:
    """Code of the dtype, shape and span of one tensor within the ``room`` bytes after the header."""

    def bad(what: str) -> BadInput:
        return BadInput(what, path=path, where=_tensor_words(name))

    if not _encodes(name):
        raise bad("has a name that is not valid Unicode")
    if type(entry) is not dict or entry.keys() != _FIELDS:
        raise bad("has an entry that is not an object of dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(code) is not str:
        raise bad("has a dtype that is not text")
    if code not in DTYPE and code not in _OTHER_BITS:
        raise bad(f"has the dtype {_short_text(code)}, which is not supported")
    if not _is_shape(shape) or len(shape) > _AXES:
        raise bad(f"has a shape that is not a list of at most {_AXES} sizes")
    if not _is_shape(offsets) or len(offsets) != 2:
        raise bad("has data_offsets that are not two offsets")
    begin, end = offsets
    if not begin <= end <= room:
        raise bad(f"lies outside the file: bytes {begin:,} to {end:,} of {room:,}")
    bits = 8 * ITEMSIZE[DTYPE[code]] if code in DTYPE else _OTHER_BITS[code][1]
    size = (prod(shape) * bits + 7) // 8
    if size != end - begin:
        wanted = f"{size:,}" if size < 2**63 else "more than any file has"
        raise bad(f"takes {end - begin:,} bytes, its shape and dtype {wanted}")
    return code, tuple(shape), begin, end


def _is_shape(value: object) -> bool:
    return type(value) is list and all(type(size) is int and 0 <= size < 2**63 for size in value)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _tensor_words(name: str) -> str:
    return f"tensor {_short_text(name)}"


def _short_text(text: str) -> str:
    """A text from the file for an error message: short and printable."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
