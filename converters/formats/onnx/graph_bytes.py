"""The bytes of an ONNX model that are not weights, for a comparison of two models."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.formats.io.other_bytes import spans
from converters.formats.io.protobuf_reader import BYTES, Field, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.files import SourceFile
    from converters.tensor import Data

_GRAPH, _INITIALIZER, _PROPERTY = 7, 5, 14
_RECORD = b"provenance"
_COMMENTS = (3, 12, 16)
"""The fields of a TensorProto that are neither name, values nor their place: segment, doc_string, metadata_props."""


class _Fields(NamedTuple):
    """Fields of the model, or with ``graph`` of its graph, where of initializers only their comments are taken. Bytes
    of ``constants`` are left out: they are compared by name."""

    file: SourceFile
    constants: tuple[Data, ...]
    graph: bool

    def chunks(self) -> Iterator[memoryview]:
        left_out = sorted(spans(self.file, self.constants))
        for field in self._wanted(Wire(self.file)):
            yield memoryview(b"%d %d %d %d;" % (field.number, field.wire, field.value, field.size))
            at, end = field.offset, field.offset + field.size
            for start, stop in left_out:
                if at <= start < end:
                    yield from self.file.chunks(at, start - at)
                    at = max(at, stop)
            yield from self.file.chunks(at, max(0, end - at))

    def _wanted(self, wire: Wire) -> Iterator[Field]:
        for field in wire.fields(0, self.file.size):
            if field.number == _GRAPH and self.graph:
                for inner in wire.inside(field):
                    if inner.number != _INITIALIZER:
                        yield inner
                    else:
                        yield from (part for part in wire.inside(inner) if part.number in _COMMENTS)
            elif field.number != _GRAPH and not self.graph and not self._is_record(wire, field):
                yield field

    def _is_record(self, wire: Wire, field: Field) -> bool:
        """Whether a property of the model is the record that a conversion left, which is compared by itself."""
        if field.number != _PROPERTY or field.wire != BYTES:
            return False
        keys = (inner for inner in wire.inside(field) if inner.number == 1 and inner.size == len(_RECORD))
        return any(self.file.read_at(key.offset, key.size) == _RECORD for key in keys)


def graph_data(file: SourceFile, constants: tuple[Data, ...]) -> dict[str, Data]:
    """The graph without its weights, and the versions and texts around it."""
    return {
        "the graph": _Fields(file, constants, True),
        "the model's properties": _Fields(file, constants, False),
    }
