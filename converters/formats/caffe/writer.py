"""Writes Caffe models as the Caffe forks do: fields in the order of their numbers, values packed.

`reader` lists the field numbers. Caffe looks weights up by layer name and compares shapes; layer types, and layers
without weights, are written only for people and other tools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import Refused
from converters.formats.io.protobuf_writer import head, message, number, varint

from .reader import BVLC, BVLC_V1, C3D, NUMBERS, Layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from converters.formats.format import Content
    from converters.formats.io.output_stream import Output, Sink
    from converters.tensor import Tensor

_LIMIT = (1 << 31) - 1
"""Bytes: protobuf reads no more."""

_AXES = {C3D: 5, BVLC_V1: 4}


def write_caffemodel(
    out: Sink,
    tensors: Iterable[Tensor],
    *,
    dialect: str = BVLC,
    net: str = "",
    layers: Sequence[Layer] = (),
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write ``tensors``, named ``LAYER/0``, ``LAYER/1`` ..., one chunk in memory at a time.

    ``layers`` are those of the original file: their order, their types and layers without weights are kept. Without
    them the layers follow the order of the tensors. Shapes are written as they are. ``c3d-v1.0`` has five sizes, and
    shorter shapes get leading ones; ``bvlc-v1`` has four, and arrays with another number of axes get the field
    ``shape``, as in newer versions of Caffe.

    Raises `Refused` for a name that is not of this form, a layer whose blobs are not 0, 1, 2 ..., a dtype or shape
    that the dialect cannot express, and a file of 2 GiB or more, which Caffe cannot read.
    """
    if dialect not in NUMBERS:
        raise Refused(f"Caffe models are not written as {dialect}", hint=f"one of {', '.join(NUMBERS)}")
    blobs_of = _by_layer(tensors)
    layer_of = {layer.name: layer for layer in layers}
    order = [layer.name for layer in layers] + [name for name in blobs_of if name not in layer_of]
    numbers = NUMBERS[dialect]
    parts: list[bytes | Tensor] = [message(1, net.encode())] if net else []
    for name in order:
        kind = layer_of[name].kind if name in layer_of else ""
        start = message(numbers.name, name.encode())
        if isinstance(kind, int):
            start += number(numbers.kind, kind)
        elif kind:
            start += message(numbers.kind, kind.encode())
        inner: list[bytes | Tensor] = [start]
        for tensor in blobs_of.get(name, ()):
            blob = _blob(tensor, dialect)
            inner += [head(numbers.blobs, _length(blob)), *blob]
        parts += [head(100 if dialect == BVLC else 2, _length(inner)), *inner]
    if _length(parts) > _LIMIT:
        raise Refused(
            f"a Caffe model of {_length(parts):,} bytes could not be read: protobuf takes less than 2 GiB",
            hint="write another format",
        )
    for part in parts:
        if isinstance(part, bytes):
            out.write(part)
            continue
        for chunk in part.data.chunks():
            out.write(chunk)
            if progress is not None:
                progress(len(chunk))


def write_mean(out: Sink, tensor: Tensor) -> None:
    """Write a mean, [channels, (frames,) height, width], as a ``.binaryproto``: a cube with the five sizes of
    ``c3d-v1.0``, an image with BVLC's four. Raises `Refused` as `write_caffemodel` does."""
    dialect = C3D if len(tensor.shape) == _AXES[C3D] - 1 else BVLC_V1
    for part in _blob(tensor._replace(shape=(1, *tensor.shape)), dialect):
        if isinstance(part, bytes):
            out.write(part)
            continue
        for chunk in part.data.chunks():
            out.write(chunk)


def _by_layer(tensors: Iterable[Tensor]) -> dict[str, list[Tensor]]:
    blobs_of: dict[str, dict[int, Tensor]] = {}
    for tensor in tensors:
        layer, _, index = tensor.name.rpartition("/")
        if not layer or not index.isdecimal() or index != str(int(index)):
            raise Refused(
                f"{tensor.name} is not the name of a layer's blob",
                hint="Caffe's names are LAYER/0, LAYER/1 ...",
            )
        blobs = blobs_of.setdefault(layer, {})
        if int(index) in blobs:
            raise Refused(f"the blob {tensor.name} occurs twice")
        blobs[int(index)] = tensor
    for layer, blobs in blobs_of.items():
        if sorted(blobs) != list(range(len(blobs))):
            raise Refused(f"layer {layer} has the blobs {', '.join(map(str, sorted(blobs)))}, not 0, 1 ...")
    return {layer: [blobs[index] for index in range(len(blobs))] for layer, blobs in blobs_of.items()}


def _blob(tensor: Tensor, dialect: str) -> list[bytes | Tensor]:
    """The parts of a BlobProto, with the tensor in place of its values."""
    numbers = NUMBERS[dialect]
    field = {"float32": numbers.data, "float64": numbers.doubles}.get(tensor.dtype, 0)
    if not field:
        raise Refused(
            f"a Caffe model of this form has no {tensor.dtype}",
            where=tensor.name,
            hint="cast it, as with --dtype float32",
        )
    values: list[bytes | Tensor] = [head(field, tensor.nbytes), tensor]
    if dialect == BVLC or (dialect == BVLC_V1 and len(tensor.shape) != _AXES[BVLC_V1]):
        sizes = message(1, b"".join(map(varint, tensor.shape))) if tensor.shape else b""
        shape = message(numbers.shape, sizes)
        return [*values, shape] if field < numbers.shape else [shape, *values]
    axes = _AXES[dialect]
    if len(tensor.shape) > axes or 0 in tensor.shape:
        raise Refused(
            f"a Caffe model of this form has arrays of {axes} axes, not {len(tensor.shape)}",
            where=tensor.name,
        )
    full = (1,) * (axes - len(tensor.shape)) + tensor.shape
    sizes = b"".join(number(field, size) for field, size in zip(numbers.sizes, full, strict=True))
    return [sizes, *values]


def _length(parts: Sequence[bytes | Tensor]) -> int:
    return sum(len(part) if isinstance(part, bytes) else part.nbytes for part in parts)


def write(outputs: Sequence[Output], content: Content) -> None:
    """Write a ``.caffemodel``, in the dialect and with the layers of the original file if that had this layout."""
    (out,) = outputs
    original = content.original
    keeps = content.same_layout and original.get("dialect") in NUMBERS
    write_caffemodel(
        out,
        content.tensors,
        dialect=original["dialect"] if keeps else BVLC,
        net=original.get("net", ""),
        layers=[Layer(row["name"], row["kind"], row["blobs"]) for row in original.get("layers", ())]
        if keeps
        else (),
        progress=content.progress,
    )
