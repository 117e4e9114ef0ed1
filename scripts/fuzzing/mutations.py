"""Mutations of a file: of its bytes, and of the structure that its format has around them.

A mutated byte in a zip member or in a table of TensorFlow fails its checksum, and nothing behind the checksum is
ever tried. So such files are taken apart, one part is mutated, and they are put together with right checksums and
lengths.
"""

from __future__ import annotations

import io
import json
import pickletools
import struct
import tempfile
import warnings
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from tests.helpers.caffe_files import varint

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    127,
    128,
    255,
    256,
    32767,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
"""Where readers make mistakes: the ends of what a field can hold."""

TEXTS = (
    "",
    "a",
    ".." * 400,
    "../" * 20,
    "a" * 5000,
    "\0",
    "\ud7ff",
    "{0}",
    "%s",
    "__reduce__",
    "1e999",
    "[" * 900,
)


def mutate(data: bytes, rng: Random) -> bytes:
    """One to three mutations of a file, most often of its structure where it has one that is known."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        structured = _structure(data)
        data = structured(data, rng) if structured and rng.random() < 0.7 else mutate_bytes(data, rng)
    return data


def _structure(data: bytes) -> Callable[[bytes, Random], bytes] | None:
    if data.startswith(b"PK"):
        return mutate_zip
    if data[-8:] == (0xDB4775248B80FB57).to_bytes(8, "little"):
        return mutate_table
    if data[:1] in (b"{", b"["):
        return mutate_json
    if data[8:10] == b'{"':
        return mutate_safetensors
    if data[:1] == b"\x80" or data[:1] in (b"(", b"c", b"}"):
        return mutate_pickle
    return mutate_protobuf if protobuf_fields(data) else None


def mutate_bytes(data: bytes, rng: Random) -> bytes:
    """Change, insert, remove, repeat or exchange some bytes; or cut the file."""
    if not data:
        return rng.randbytes(rng.randrange(1, 64))
    out = bytearray(data)
    at = rng.randrange(len(out))
    size = min(rng.choice((1, 2, 4, 8, 16, 100)), len(out) - at)
    match rng.randrange(8):
        case 0:
            out[at] ^= 1 << rng.randrange(8)
        case 1:
            out[at] = rng.randrange(256)
        case 2:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) % (1 << (8 * width))
            out[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        case 3:
            del out[at : at + size]
        case 4:
            out[at:at] = rng.randbytes(size)
        case 5:
            out[at:at] = out[at : at + size] * rng.choice((1, 2, 50))
        case 6:
            del out[at:]
        case _:
            other = rng.randrange(len(out))
            out[at : at + size] = out[other : other + size]
    return bytes(out)


def mutate_zip(data: bytes, rng: Random) -> bytes:
    """Mutate, remove, repeat or rename a member; every checksum is right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        OSError,
        RuntimeError,
        EOFError,
    ):  # an earlier mutation
        return mutate_bytes(data, rng)
    if not members:
        return mutate_bytes(data, rng)
    at = rng.randrange(len(members))
    name, content, method = members[at]
    match rng.randrange(8):
        case 0:
            del members[at]
        case 1:
            members.append((name, mutate_bytes(content, rng), method))
        case 2:
            members[at] = (rng.choice(TEXTS).replace("\0", "") or "data.pkl", content, method)
        case 3:
            members[at] = (name, content, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
        case _:
            structured = _structure(content)
            members[at] = (name, (structured or mutate_bytes)(content, rng), method)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that occurs twice
        for name, content, method in members:
            try:
                info = zipfile.ZipInfo(name)
                archive.writestr(info, content, compress_type=method)
            except UnicodeEncodeError:
                continue
    return out.getvalue()


def mutate_table(data: bytes, rng: Random) -> bytes:
    """Mutate an entry's key or value in a sorted table, whose checksums are then right."""
    from converters.errors import ConverterError
    from converters.files import SourceFile
    from converters.formats.tensorflow.sstable import read_table
    from tests.helpers.tensorflow_files import table

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            with SourceFile(file.name) as source:
                entries = [(bytes(entry.key), bytes(entry.value)) for entry in read_table(source)]
        except ConverterError:
            return mutate_bytes(data, rng)
    if not entries:
        return mutate_bytes(data, rng)
    at = rng.randrange(len(entries))
    key, value = entries[at]
    match rng.randrange(5):
        case 0:
            del entries[at]
        case 1:
            entries[at] = (mutate_bytes(key, rng), value)
        case _:
            entries[at] = (key, mutate_protobuf(value, rng))

    return table(sorted(dict(entries).items()))


def protobuf_fields(data: bytes) -> list[tuple[int, int, Any]] | None:
    """The fields of a message as (number, wire type, value), or None if it is not a message."""
    fields: list[tuple[int, int, Any]] = []
    at = 0
    try:
        while at < len(data):
            tag, at = _read_varint(data, at)
            number, wire = tag >> 3, tag & 7
            if not number:
                return None
            match wire:
                case 0:
                    value, at = _read_varint(data, at)
                case 1 | 5:
                    size = 8 if wire == 1 else 4
                    value, at = data[at : at + size], at + size
                case 2:
                    size, at = _read_varint(data, at)
                    value, at = data[at : at + size], at + size
                case _:
                    return None
            if at > len(data):
                return None
            fields.append((number, wire, value))
    except IndexError:
        return None
    return fields


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise IndexError


def mutate_protobuf(data: bytes, rng: Random, depth: int = 0) -> bytes:
    """Mutate one field at any depth; the lengths of what is around it are right."""
    fields = protobuf_fields(data)
    if not fields or len(fields) > 20_000:
        return mutate_bytes(data, rng)
    at = rng.randrange(len(fields))
    number, wire, value = fields[at]
    match rng.randrange(10):
        case 0:
            del fields[at]
        case 1:
            fields.insert(at, fields[rng.randrange(len(fields))])
        case 2:
            fields[at] = (rng.randrange(1, 20), wire, value)
        case 3:
            fields[at] = (number, 0, rng.choice(NUMBERS))
        case 4:
            fields[at] = (number, 2, rng.choice(TEXTS).encode("utf-8", "surrogatepass"))
        case _ if wire == 0:
            fields[at] = (number, 0, rng.choice((*NUMBERS, value + 1, value - 1)))
        case _ if wire == 2:
            deeper = depth < 12 and len(value) > 1 and protobuf_fields(value)
            fields[at] = (
                number,
                2,
                (mutate_protobuf(value, rng, depth + 1) if deeper else mutate_bytes(value, rng)),
            )
        case _:
            fields[at] = (number, wire, rng.randbytes(len(value)))
    out = bytearray()
    for number, wire, value in fields:
        out += varint(number << 3 | wire)
        if wire == 0:
            out += varint(value % (1 << 64))
        else:
            out += (varint(len(value)) if wire == 2 else b"") + value
    return bytes(out)


def mutate_json(data: bytes, rng: Random) -> bytes:
    """Mutate one value, or one key, at any depth."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, rng)
    return json.dumps(_mutated_value(document, rng)).encode("utf-8", "surrogatepass")


def _mutated_value(value: Any, rng: Random) -> Any:
    if value and rng.random() < 0.85:
        if isinstance(value, dict):
            key = rng.choice([*value])
            inner = value.pop(key)
            kind = rng.randrange(8)
            if kind == 0:
                return value
            value[rng.choice(TEXTS) if kind == 1 else key] = _mutated_value(inner, rng)
            return value
        if isinstance(value, list):
            at = rng.randrange(len(value))
            value[at] = _mutated_value(value[at], rng)
            return value * 2 if rng.random() < 0.1 else value
    other = (None, True, False, -1, 0.5, float("nan"), [], {}, [[]], {"a": {}}, 10**400, *NUMBERS, *TEXTS)
    return rng.choice(other)


def mutate_safetensors(data: bytes, rng: Random) -> bytes:
    """Mutate the header, whose length is then right."""
    size = struct.unpack_from("<Q", data)[0]
    header = mutate_json(data[8 : 8 + size], rng)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def mutate_pickle(data: bytes, rng: Random) -> bytes:
    """Remove, repeat, exchange or mutate instructions, each of them whole."""
    try:
        places = [place for _, _, place in pickletools.genops(data)]
    except Exception:  # what pickletools raises is not said anywhere
        return mutate_bytes(data, rng)
    ends = [*places[1:], len(data)]
    parts = [data[start:end] for start, end in zip(places, ends, strict=True)]
    at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    match rng.randrange(5):
        case 0:
            del parts[at]
        case 1:
            parts.insert(at, parts[other])
        case 2:
            parts[at], parts[other] = parts[other], parts[at]
        case 3:
            parts[at:at] = parts[other : other + 20] * rng.choice((1, 3))
        case _:
            parts[at] = parts[at][:1] + mutate_bytes(parts[at][1:], rng)
    return b"".join(parts)
