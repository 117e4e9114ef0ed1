"""The graph of a SavedModel, which lies beside the folder of its variables. It is compared, never read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.files import SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterator


class GraphFile(NamedTuple):
    """The bytes of a file that is opened for a comparison only. Raises `BadInput` where it cannot be read."""

    path: str

    def chunks(self) -> Iterator[memoryview]:
        with SourceFile(self.path) as file:
            yield from file.chunks(0, file.size)
