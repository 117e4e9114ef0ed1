"""Caffe's layers in ONNX: those of C3D (2-D and 3-D axes alike) and of the TSN fork's BN-Inception.

A pool's output is ``ceil((size + 2 pad - kernel) / stride) + 1`` positions; an average counts the padding. Vectors
may have further axes of size one, matrices further ones in front. Chainer's functions of the same nets compute the
same (``cover_all``), so that its files are read with these layers too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Refused

if TYPE_CHECKING:
    from .graph import Emitter, SourceOp


def _vector(emit: Emitter, name: str) -> str:
    """A blob of C values, whatever its shape, as a vector."""
    return emit("Reshape", [name, emit.integers(-1)], f"{name}/C") if len(emit.shape(name)) > 1 else name


def _convolution(emit: Emitter, op: SourceOp) -> None:
    value, weight, *bias = op.inputs
    kernel = emit.shape(weight)[2:]
    axes = len(kernel)
    emit(
        "Conv",
        [value, weight, *(_vector(emit, name) for name in bias)],
        op.outputs[0],
        kernel_shape=kernel,
        strides=[op.args.get("stride", 1)] * axes,
        pads=[op.args.get("pad", 0)] * 2 * axes,
    )


def _pooling(emit: Emitter, op: SourceOp) -> None:
    args = op.args
    if args.get("global_pooling"):
        if args["pool"] != "AVE":
            raise Refused("Caffe's global pooling is translated for averages only", where=op.outputs[0])
        emit("GlobalAveragePool", op.inputs, op.outputs[0])
        return
    kernel = args["kernel"]
    window = {
        "kernel_shape": kernel,
        "strides": args["stride"],
        "pads": [args.get("pad", 0)] * 2 * len(kernel),
        "ceil_mode": 1,
    }
    if args["pool"] == "AVE":
        emit("AveragePool", op.inputs, op.outputs[0], **window, count_include_pad=1)
    else:
        emit("MaxPool", op.inputs, op.outputs[0], **window)


def _inner_product(emit: Emitter, op: SourceOp) -> None:
    value, weight, bias = op.inputs
    flat = emit("Flatten", [value], f"{op.outputs[0]}/flat", axis=1)
    columns = emit.shape(weight)[-1]
    matrix = emit("Reshape", [weight, emit.integers(-1, columns)], f"{weight}/OI")
    emit("Gemm", [flat, matrix, _vector(emit, bias)], op.outputs[0], transB=1)


def _bn(emit: Emitter, op: SourceOp) -> None:
    """The TSN fork's: slope, bias, moving mean, moving variance."""
    value, *vectors = op.inputs
    read = [value, *(_vector(emit, name) for name in vectors)]
    emit("BatchNormalization", read, op.outputs[0], epsilon=op.args["eps"])


def _concat(emit: Emitter, op: SourceOp) -> None:
    emit("Concat", op.inputs, op.outputs[0], axis=1)


def _relu(emit: Emitter, op: SourceOp) -> None:
    emit("Relu", op.inputs, op.outputs[0])


VOCABULARY = {
    "BN": _bn,
    "Concat": _concat,
    "Convolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "ReLU": _relu,
}
"""How each layer is written."""
