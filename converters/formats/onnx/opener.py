"""Open ONNX models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.formats.checkpoint import Checkpoint
from converters.formats.other_value import OtherValue, unconverted
from converters.formats.provenance_record import parse_provenance
from converters.printable import printable

from .arguments import arguments
from .graph_bytes import graph_data
from .graph_settings import declared_settings
from .reader import is_onnx, read_onnx

if TYPE_CHECKING:
    from converters.files import SourceFile
    from converters.formats.format import ReadOptions


def open_onnx(file: SourceFile, _kind: str, _options: ReadOptions) -> Checkpoint | None:
    """Open a model and the files of its external data; None for another protocol buffer. Raises `BadInput`."""
    if not is_onnx(file):
        return None
    contents = read_onnx(file)
    try:
        provenance = parse_provenance(contents.metadata.get("provenance"), file.path)
        declared = declared_settings(contents.nodes, contents.inputs, contents.tensors, file.path)
    except BaseException:
        for external in contents.files:
            external.close()
        raise
    how = arguments(contents.nodes)
    other_values = {
        name: unconverted(stored.dtype, stored.shape, stored.data, beside=stored.in_node or name in how)
        for name, stored in contents.others.items()
    }
    in_nodes = tuple(stored.data for stored in contents.others.values() if stored.data and stored.in_node)
    return Checkpoint(
        path=file.path,
        files=(file, *contents.files),
        format="onnx",
        container=f"ONNX model, opset {contents.opset}",
        tensors=contents.tensors,
        other_values=other_values,
        metadata={
            name: OtherValue(kind="protocol buffer", data=data)
            for name, data in graph_data(file, in_nodes).items()
        },
        details={"producer": printable(contents.producer)},
        provenance=provenance,
        declared=declared,
        nodes=contents.nodes,
    )
