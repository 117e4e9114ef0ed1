"""Confirms what a ``.pth`` of this package holds, in a third of the time that its pickle takes to evaluate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.files import SourceFile
from converters.formats.io.zip_records import read_records
from converters.formats.pickle.machine import KEEP

from .archive import ROOT
from .writer import pickled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.formats.format import Wrapper
    from converters.tensor import Tensor


def confirm(path: str, tensors: Sequence[Tensor], wrapper: Wrapper | None) -> bool:
    """Whether ``data.pkl`` is the pickle of these names, shapes and dtypes, byte for byte, and every tensor has a
    record of its size.

    False also for names that the reader would keep in the file. Raises `BadInput` for a damaged zip file.
    """
    if any(len(tensor.name.encode("utf-8", "surrogatepass")) >= KEEP for tensor in tensors):
        return False
    expected = pickled(tensors, wrapper.entries, wrapper.key) if wrapper else pickled(tensors, None)
    with SourceFile(path) as file:
        records = read_records(file)
        head = records.get(f"{ROOT}data.pkl")
        if head is None or head.size != len(expected) or file.read_at(head.offset, head.size) != expected:
            return False
        found = [records.get(f"{ROOT}data/{number}") for number in range(len(tensors))]
        return all(
            record is not None and record.size == tensor.nbytes
            for record, tensor in zip(found, tensors, strict=True)
        )
