"""The bytes of a file that belong to no tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from converters.files import SourceFile
    from converters.tensor import Data


class OtherBytes(NamedTuple):
    """All bytes of a file but those of ``tensors``, of which only those in this file count."""

    file: SourceFile
    tensors: tuple[Data, ...]

    def chunks(self) -> Iterator[memoryview]:
        at = 0
        for start, end in sorted(spans(self.file, self.tensors)):
            if start > at:
                yield from self.file.chunks(at, start - at)
            at = max(at, end)
        yield from self.file.chunks(at, self.file.size - at)


def spans(file: SourceFile, tensors: Iterable[Data]) -> Iterator[tuple[int, int]]:
    """First and last offset of the bytes of tensors in a file, one value's tag or a whole run of them."""
    from .protobuf_reader import Unpacked

    for data in tensors:
        if isinstance(data, Unpacked) and data.file is file:
            yield data.offset, data.offset + data.count * data.stride
        elif getattr(data, "file", None) is file and hasattr(data, "offset") and hasattr(data, "nbytes"):
            yield data.offset, data.offset + data.nbytes
        elif parts := getattr(data, "parts", ()):
            yield from spans(file, parts)
