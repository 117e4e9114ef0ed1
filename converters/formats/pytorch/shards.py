"""Reads the index of a sharded checkpoint: ``model.safetensors.index.json``, ``pytorch_model.bin.index.json``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.formats.pickle.numpy_arrays import TENSOR_LIMIT
from converters.printable import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.files import SourceFile

_LIMIT = 32 << 20  # bytes; a name takes about a hundred
_FILES = 512  # they are open at once


def read_index(file: SourceFile) -> dict[str, set[str]]:
    """The tensors' names in each shard, by the shard's name in the index's folder. Raises `BadInput`."""
    if file.size > _LIMIT:
        raise BadInput(
            f"is an index of {file.size:,} bytes", path=file.path, hint="no checkpoint's is so long"
        )
    text = file.read_at(0, file.size)
    if sum(map(text.count, (b",", b"[", b"{"))) > 2 * TENSOR_LIMIT:
        raise BadInput("is an index of more values than any checkpoint's", path=file.path)
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise BadInput("is an index that is not JSON", path=file.path, hint="fetch it again") from None
    names = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(names, dict) or not 0 < len(names) <= TENSOR_LIMIT:
        raise BadInput("is not the index of a checkpoint: it has no weight_map", path=file.path)
    names_by_file: dict[str, set[str]] = {}
    for name, part in names.items():
        if not isinstance(part, str) or not _is_neighbour(part):
            where = short_name(part) if isinstance(part, str) else short_name(name)
            raise BadInput("names a file that is not in its own folder", path=file.path, where=where)
        names_by_file.setdefault(part, set()).add(name)
    if len(names_by_file) > _FILES:
        raise BadInput(f"names {len(names_by_file):,} files; {_FILES} at most are read", path=file.path)
    return names_by_file


class IndexMetadata(NamedTuple):
    """What an index says beside the names of tensors, as JSON with sorted keys. Raises `BadInput`."""

    file: SourceFile

    def chunks(self) -> Iterator[memoryview]:
        try:
            value = json.loads(self.file.read_at(0, self.file.size))
        except (ValueError, RecursionError):
            raise BadInput(
                "is an index that is not JSON", path=self.file.path, hint="fetch it again"
            ) from None
        rest = {name: item for name, item in value.items() if name != "weight_map"}
        yield memoryview(json.dumps(rest, sort_keys=True).encode())


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError
    return entries


def _is_neighbour(name: str) -> bool:
    """Whether a name is a plain file name: no folder, drive or stream, not hidden, not another index."""
    return (
        name.isprintable()
        and not set('/\\:*?"<>|') & set(name)
        and not name.startswith(".")
        and not name.endswith(".index.json")
        and len(name.encode("utf-8", "replace")) <= 255
    )
