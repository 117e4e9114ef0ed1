"""Big tensors in pieces, as Paddle's files of protocols 2 and 3 have them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from converters.errors import BadInput
from converters.printable import short_name
from converters.tensor import ITEMSIZE, Joined, Tensor

from .entries import PIECE_BYTES, SHAPE, SLICES
from .names import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from converters.files import SourceFile
    from converters.tensor import Data

_MOST_AXES = 64


def joined(file: SourceFile, tensors: Mapping[str, Tensor], table: object) -> dict[str, Tensor]:
    """The tensors, with the big ones in place of their pieces. Raises `BadInput` for pieces that do not fit."""
    if not isinstance(table, dict):
        raise _wrong(file, "its table of pieces")
    left = dict(tensors)
    whole: dict[str, Tensor] = {}
    for key, entry in table.items():
        name = as_text(key)
        if name is None:
            raise _wrong(file, "its table of pieces")
        if name in tensors:
            raise _wrong(file, name)
        shape, names = _described(file, name, entry)
        parts = [left.pop(part, None) for part in names]
        dtypes = {part.dtype if part else "" for part in parts}
        found = sum(prod(part.shape) for part in parts if part)
        if len(dtypes) != 1 or "" in dtypes or found != prod(shape):
            raise _wrong(file, name)
        data = Joined(tuple(part.data for part in parts if part))
        whole[name] = Tensor(name, dtypes.pop(), shape, data)
    return left | whole


def _described(file: SourceFile, name: str, entry: object) -> tuple[tuple[int, ...], list[str]]:
    """A tensor's shape and its pieces' names."""
    described = {as_text(key): value for key, value in entry.items()} if isinstance(entry, dict) else {}
    shape, names = described.get(SHAPE), described.get(SLICES)
    if not isinstance(shape, (tuple, list)) or not isinstance(names, (tuple, list)):
        raise _wrong(file, name)
    sizes_fit = len(shape) <= _MOST_AXES and all(type(size) is int and 0 <= size < 1 << 63 for size in shape)
    texts = [part for part in map(as_text, names) if part is not None]
    if not sizes_fit or len(texts) < len(names):
        raise _wrong(file, name)
    return tuple(shape), texts


def _wrong(file: SourceFile, name: str) -> BadInput:
    return BadInput(
        "is in pieces that do not fit together",
        path=file.path,
        where=short_name(name),
        hint="the file is damaged; fetch it again",
    )


class Piece(NamedTuple):
    """So many bytes of a tensor from ``start``."""

    data: Data
    start: int
    nbytes: int

    def chunks(self) -> Iterator[memoryview]:
        at, end = 0, self.start + self.nbytes
        for chunk in self.data.chunks():
            low, high = max(self.start - at, 0), min(end - at, len(chunk))
            if low < high:
                yield chunk[low:high]
            at += len(chunk)
            if at >= end:
                return


def split(tensors: Sequence[Tensor], size: int = PIECE_BYTES) -> dict[str, list[Tensor]]:
    """The pieces, of at most ``size`` bytes, of the tensors that have more, by name."""
    pieces: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        itemsize = ITEMSIZE[tensor.dtype]
        most, count = size // itemsize, prod(tensor.shape)
        if count > most:
            pieces[tensor.name] = [
                Tensor(
                    f"{tensor.name}@@.{number}",
                    tensor.dtype,
                    (min(most, count - start),),
                    Piece(tensor.data, start * itemsize, min(most, count - start) * itemsize),
                )
                for number, start in enumerate(range(0, count, most))
            ]
    return pieces
