"""Digests of output files, with and without the provenance record.

The record is found by a reading of the file formats that shares no code with the package.
"""

from __future__ import annotations

import json
import zipfile
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hashlib import _Hash
    from pathlib import Path
    from typing import IO

CHUNK = 1 << 20
ONNX_METADATA = 14
"""The number of the field ``metadata_props`` in ONNX's ModelProto."""


class Digest(NamedTuple):
    """What is kept of a file: a digest of all but the record, one of all bytes, and the record."""

    masked: str
    raw: str
    record: dict[str, Any]


def digest_file(path: Path) -> Digest:
    """The digests of one file. In formats that have no place for a record both are the same."""
    readers = {".pth": _zip, ".pt": _zip, ".tar": _zip, ".safetensors": _safetensors, ".onnx": _onnx}
    with path.open("rb") as file:
        whole = sha256()
        _feed(whole, file)
        raw = whole.hexdigest()
        if path.suffix not in readers:
            return Digest(raw, raw, {})
        file.seek(0)
        masked = sha256()
        try:
            record = readers[path.suffix](file, masked)
            return Digest(masked.hexdigest(), raw, json.loads(record) if record else {})
        except (ValueError, KeyError, StopIteration, zipfile.BadZipFile) as error:
            return Digest(f"cannot be read: {error!r}", raw, {})


def digest_folder(folder: Path) -> dict[str, Any]:
    """The digests of all files in a folder together, and of each part of their records."""
    masked, raw, size = sha256(), sha256(), 0
    record: dict[str, str] = {}
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        digest = digest_file(path)
        _add(masked, path.name, digest.masked)
        _add(raw, path.name, digest.raw)
        record |= {key: sha256(json.dumps(part).encode()).hexdigest() for key, part in digest.record.items()}
        size += path.stat().st_size
    return {
        "files": [path.relative_to(folder).as_posix() for path in paths],
        "size": size,
        "masked": masked.hexdigest(),
        "raw": raw.hexdigest(),
        "record": record,
    }


def _feed(digest: _Hash, file: IO[bytes], length: int = 1 << 62) -> None:
    """Hash the next ``length`` bytes of a file, or all that is left."""
    while length and (piece := file.read(min(CHUNK, length))):
        digest.update(piece)
        length -= len(piece)


def _add(digest: _Hash, *values: object) -> None:
    digest.update(json.dumps(values).encode() + b"\n")


def _zip(file: IO[bytes], digest: _Hash) -> str:
    """Hash a PyTorch file: its members in their order, without the record and the hash of all members that PyTorch
    adds. Returns the record."""
    record = ""
    with zipfile.ZipFile(file) as archive:
        _add(digest, archive.comment.hex())
        for member in archive.infolist():
            if member.filename.endswith("/provenance.json"):
                record = archive.read(member).decode()
                _add(digest, member.filename)
            elif member.filename.endswith("/.data/serialization_id"):
                _add(digest, member.filename, member.file_size)
            else:
                _add(digest, member.filename, member.date_time, member.compress_type, member.file_size)
                with archive.open(member) as data:
                    _feed(digest, data)
    return record


def _safetensors(file: IO[bytes], digest: _Hash) -> str:
    """Hash a safetensors file: the header without the record, in the order of its names, and all data. Returns the
    record."""
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    record: str = header.get("__metadata__", {}).pop("provenance", "")
    _add(digest, header)
    _feed(digest, file)
    return record


def _onnx(file: IO[bytes], digest: _Hash) -> str:
    """Hash an ONNX file: the fields of its ModelProto in their order, without the record. Returns the record."""
    record = ""
    while (tag := _varint(file)) is not None:
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _add(digest, number, _varint(file))
            continue
        length = {1: 8, 5: 4}.get(kind) or _varint(file) or 0
        if number != ONNX_METADATA:
            _add(digest, number, kind, length)
            _feed(digest, file, length)
            continue
        entry = file.read(length)
        key, mark, text = entry.partition(b"provenance\x12")
        if mark and len(key) == 2:
            start = next(place for place, byte in enumerate(text, 1) if byte < 128)
            record = text[start:].decode()
            _add(digest, number)
        else:
            _add(digest, number, entry.hex())
    return record


def _varint(file: IO[bytes]) -> int | None:
    """The next number of a protobuf message, or None at its end."""
    value = shift = 0
    while byte := file.read(1):
        value |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            return value
    return None
