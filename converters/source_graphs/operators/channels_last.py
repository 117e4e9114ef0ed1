"""Operators over clips whose channels are last, in ONNX: what TensorFlow's and JAX's vocabularies share.

Both keep clips as N, T, H, W, C and kernels as D, H, W, I, O. ONNX knows N, C, T, H, W only: the input is transposed
once, every kernel where it is used, and all values in between are N, C, T, H, W. ``SAME_UPPER`` is their rule for
``SAME``: as much padding as ``ceil(size / stride)`` outputs need for the actual input size, with the smaller half
before the first row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from converters.source_graphs.net import SourceOp
    from converters.source_graphs.translation import Emitter

PADDING = {"SAME": "SAME_UPPER", "VALID": "VALID"}
"""TensorFlow's rules of padding as ONNX calls them."""

_AXES = {0: 0, 1: 2, 2: 3, 3: 4, 4: 1, -1: 1}
"""The axes of a clip in ONNX's order."""


def transpose_clip(emit: Emitter, op: SourceOp) -> None:
    """The input, with its channels moved in front of its frames."""
    emit("Transpose", op.inputs, op.outputs[0], perm=[0, 4, 1, 2, 3])


def convolve(emit: Emitter, op: SourceOp) -> None:
    """A 3D convolution with the arguments ``strides``, ``padding`` and perhaps ``groups``."""
    value, kernel = op.inputs
    transposed = emit("Transpose", [kernel], f"{kernel}/OIDHW", perm=[4, 3, 0, 1, 2])
    emit(
        "Conv",
        [value, transposed],
        op.outputs[0],
        kernel_shape=emit.shape(kernel)[:3],
        strides=op.args["strides"],
        auto_pad=PADDING[op.args["padding"]],
        group=op.args.get("groups", 1),
    )


def add_bias(emit: Emitter, op: SourceOp) -> None:
    """A clip and a vector of its channels."""
    value, bias = op.inputs
    wide = emit("Reshape", [bias, emit.integers(1, -1, 1, 1, 1)], f"{bias}/1C111")
    emit("Add", [value, wide], op.outputs[0])


def normalise(emit: Emitter, op: SourceOp, *, epsilon: str) -> None:
    """(x - mean) rsqrt(variance + eps) + bias. The vectors are [C] or [1, 1, 1, 1, C]; ``epsilon`` is the name of
    eps's argument."""
    value, *vectors = op.inputs
    mean, variance, bias = (emit("Reshape", [name, emit.integers(-1)], f"{name}/C") for name in vectors)
    scale = emit.floats(1, emit.shape(vectors[0])[-1])
    inputs = [value, scale, bias, mean, variance]
    emit("BatchNormalization", inputs, op.outputs[0], epsilon=op.args[epsilon])


def pool(emit: Emitter, op: SourceOp, *, kind: str, window: str) -> None:
    """A ``MaxPool`` or an ``AveragePool``; ``window`` is the name of the window's argument."""
    emit(
        kind,
        op.inputs,
        op.outputs[0],
        kernel_shape=op.args[window],
        strides=op.args["strides"],
        auto_pad=PADDING[op.args["padding"]],
    )


def squeeze(emit: Emitter, op: SourceOp, *, axes: str) -> None:
    """Remove height and width: [N, T, C] is left, again with its channels last. ``axes`` is the argument's name."""
    removed: Sequence[int] = [_AXES[axis] for axis in op.args[axes]]
    bare = emit("Squeeze", [op.inputs[0], emit.integers(*removed)], f"{op.outputs[0]}/NCT")
    emit("Transpose", [bare], op.outputs[0], perm=[0, 2, 1])


def concatenate(emit: Emitter, op: SourceOp) -> None:
    """Clips along ``axis``."""
    emit("Concat", op.inputs, op.outputs[0], axis=_AXES[op.args["axis"]])


def mean(emit: Emitter, op: SourceOp) -> None:
    """Over an ``axis`` of what `squeeze` left."""
    emit("ReduceMean", [op.inputs[0], emit.integers(op.args["axis"])], op.outputs[0], keepdims=0)


def elementwise(kind: str) -> Callable[[Emitter, SourceOp], None]:
    """An operator of ONNX that takes the same inputs."""

    def write(emit: Emitter, op: SourceOp) -> None:
        emit(kind, op.inputs, op.outputs[0])

    return write


def relu(emit: Emitter, op: SourceOp) -> None:
    """Each value, or zero where it is negative."""
    emit("Relu", op.inputs, op.outputs[0])
