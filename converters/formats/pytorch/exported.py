"""Reads programs of torch.export that we wrote (``.pt2``): their tensors, by our record in them. The graph is not read.

``<root>/data/weights/model_weights_config.json`` says of each tensor in which record it is, its dtype, sizes and
strides; ``<root>/extra/RECORD`` is the record.
"""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, Any

from converters.errors import BadInput
from converters.formats.io.zip_records import place, read_records
from converters.formats.other_value import plain_value
from converters.formats.pickle.numpy_arrays import TENSOR_LIMIT
from converters.tensor import ITEMSIZE, FileBytes, Tensor

from .tensors import PthFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.files import SourceFile
    from converters.formats.io.zip_records import ZipRecord

RECORD = "video_checkpoint_converters.json"
"""The name of the record of a graph."""

_WEIGHTS = "data/weights/"
_CONFIG = f"{_WEIGHTS}model_weights_config.json"
_DTYPES = {5: "int64", 6: "float16", 7: "float32", 8: "float64", 13: "bfloat16"}
"""The numbers of torch.export's schema."""

_LIMIT = 64 << 20
_LONGEST = 1024


def read_exported(file: SourceFile) -> PthFile | None:
    """The tensors of a program that we wrote; None for any other zip file. Raises `BadInput` for a damaged one."""
    records = read_records(file)
    root = next(
        (name.removesuffix(f"extra/{RECORD}") for name in records if name.endswith(f"/extra/{RECORD}")), None
    )
    if root is None:
        return None
    try:
        record = json.loads(_bytes(file, records, f"{root}extra/{RECORD}"))
        config = json.loads(_bytes(file, records, root + _CONFIG))["config"]
        if len(config) > TENSOR_LIMIT or max(map(len, config), default=0) > _LONGEST:
            raise ValueError("it has too many tensors, or too long a name")
        tensors = {
            str(name): _tensor(file, records, str(name), f"{root}{_WEIGHTS}{row['path_name']}", row)
            for name, row in config.items()
        }
        return PthFile(
            tensors=tensors,
            other_values={},
            wrapper=None,
            records=records,
            crcs={},
            provenance=json.dumps(record["provenance"]),
            metadata={"the inputs of its graph": plain_value(json.dumps(record["inputs"]))},
            exported=True,
        )
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadInput(f"is a damaged program of torch.export: {error}", path=file.path) from None


def _bytes(file: SourceFile, records: Mapping[str, ZipRecord], name: str) -> bytes:
    record = records[name]
    if record.size > _LIMIT:
        raise ValueError(f"{record.size:,} bytes of {name}")
    return place(file, record, held=True).read_at(record.offset, record.size)


def _tensor(
    file: SourceFile, records: Mapping[str, ZipRecord], name: str, inner: str, row: Mapping[str, Any]
) -> Tensor:
    meta, record = row["tensor_meta"], records[inner]
    dtype, shape = _DTYPES[meta["dtype"]], tuple(int(size["as_int"]) for size in meta["sizes"])
    strides = tuple(int(stride["as_int"]) for stride in meta["strides"])
    contiguous = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
    size = prod(shape) * ITEMSIZE[dtype]
    if row["use_pickle"] or meta["storage_offset"]["as_int"] or min(shape, default=0) < 0:
        raise ValueError(f"{name} is stored in an unknown form")
    if size != record.size or (strides != contiguous and size):
        raise ValueError(f"{name} does not fill its record")
    return Tensor(name, dtype, shape, FileBytes(place(file, record), record.offset, size))
