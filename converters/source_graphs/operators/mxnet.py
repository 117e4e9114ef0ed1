"""MXNet's operators in ONNX: those of GluonCV's networks, under the names in MXNet's operator registry, whose arguments
they have (apache/mxnet 1.9.1, ``src/operator/nn``).

A pool rounds down (``valid``) or up (``full``); an average counts the padding, as Gluon asks for. Scales are trained:
Gluon's batch norms have ``fix_gamma=False``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import Refused

if TYPE_CHECKING:
    from converters.source_graphs.net import SourceOp
    from converters.source_graphs.translation import Emitter


def _convolution(emit: Emitter, op: SourceOp) -> None:
    args = op.args
    window = {"kernel_shape": args["kernel"], "strides": args["stride"], "pads": [*args["pad"]] * 2}
    emit("Conv", op.inputs, op.outputs[0], **window)


def _batch_norm(emit: Emitter, op: SourceOp) -> None:
    """The inputs are those of ONNX: the value, gamma, beta, moving mean and moving variance."""
    emit("BatchNormalization", op.inputs, op.outputs[0], epsilon=op.args["eps"])


def _activation(emit: Emitter, op: SourceOp) -> None:
    if op.args["act_type"] != "relu":
        raise Refused("MXNet's Activation is translated for relu only", where=op.outputs[0])
    emit("Relu", op.inputs, op.outputs[0])


def _pooling(emit: Emitter, op: SourceOp) -> None:
    args = op.args
    if args.get("global_pool"):
        emit("GlobalAveragePool", op.inputs, op.outputs[0])
        return
    window = {"kernel_shape": args["kernel"], "strides": args["stride"], "pads": [*args["pad"]] * 2}
    window["ceil_mode"] = int(args.get("pooling_convention") == "full")
    if args["pool_type"] == "max":
        emit("MaxPool", op.inputs, op.outputs[0], **window)
    else:
        emit("AveragePool", op.inputs, op.outputs[0], **window, count_include_pad=1)


def _fully_connected(emit: Emitter, op: SourceOp) -> None:
    """Everything but the first axis times a matrix ``[out, in]``, plus a bias."""
    value, weight, bias = op.inputs
    flat = emit("Flatten", [value], f"{op.outputs[0]}/flat", axis=1)
    emit("Gemm", [flat, weight, bias], op.outputs[0], transB=1)


def _add(emit: Emitter, op: SourceOp) -> None:
    emit("Add", op.inputs, op.outputs[0])


def _concat(emit: Emitter, op: SourceOp) -> None:
    emit("Concat", op.inputs, op.outputs[0], axis=op.args["dim"])


def _squeeze(emit: Emitter, op: SourceOp) -> None:
    emit("Squeeze", [op.inputs[0], emit.integers(*op.args["axis"])], op.outputs[0])


def _flatten_positions(emit: Emitter, op: SourceOp) -> None:
    """``reshape`` to the ``shape`` (0, 0, -1)."""
    emit("Reshape", [op.inputs[0], emit.integers(*op.args["shape"])], op.outputs[0])


def _reshape_like(emit: Emitter, op: SourceOp) -> None:
    """[N, C, positions] with the axes after the first two of another value."""
    value, like = op.inputs
    axes = emit("Shape", [like], f"{op.outputs[0]}/axes", start=2)
    shape = emit("Concat", [emit.integers(0, 0), axes], f"{op.outputs[0]}/shape", axis=0)
    emit("Reshape", [value, shape], op.outputs[0])


def _batch_dot(emit: Emitter, op: SourceOp) -> None:
    """Products of matrices, either transposed."""
    inputs = list(op.inputs)
    for place, side in enumerate("ab"):
        if op.args.get(f"transpose_{side}"):
            inputs[place] = emit("Transpose", [inputs[place]], f"{op.outputs[0]}/{side}", perm=[0, 2, 1])
    emit("MatMul", inputs, op.outputs[0])


def _mul_scalar(emit: Emitter, op: SourceOp) -> None:
    emit("Mul", [op.inputs[0], emit.floats(op.args["scalar"])], op.outputs[0])


def _softmax(emit: Emitter, op: SourceOp) -> None:
    emit("Softmax", op.inputs, op.outputs[0], axis=op.args["axis"])


def _slice(emit: Emitter, op: SourceOp, *, fast: bool) -> None:
    """The frames of one pathway of SlowFast in a clip that has the fast one's, and then one for every ``alpha`` of
    them, of no more than its first ``most`` frames. GluonCV's own slices have numbers in place of these parts: 32 of
    36, of 40, 64 of 80."""
    (value,), (output,) = op.inputs, op.outputs
    frames = emit("Shape", [value], f"{output}/frames", start=2, end=3)
    frames = emit("Min", [frames, emit.integers(op.args["most"])], f"{output}/taken")
    few = emit("Div", [frames, emit.integers(op.args["alpha"] + 1)], f"{output}/slow")
    many = emit("Sub", [frames, few], f"{output}/fast")
    start, end = (emit.integers(0), many) if fast else (many, frames)
    emit("Slice", [value, start, end, emit.integers(2)], output)


def _slice_fast(emit: Emitter, op: SourceOp) -> None:
    _slice(emit, op, fast=True)


def _slice_slow(emit: Emitter, op: SourceOp) -> None:
    _slice(emit, op, fast=False)


VOCABULARY = {
    "Activation": _activation,
    "BatchNorm": _batch_norm,
    "Concat": _concat,
    "Convolution": _convolution,
    "FullyConnected": _fully_connected,
    "Pooling": _pooling,
    "_mul_scalar": _mul_scalar,
    "batch_dot": _batch_dot,
    "elemwise_add": _add,
    "reshape": _flatten_positions,
    "reshape_like": _reshape_like,
    "slice fast": _slice_fast,
    "slice slow": _slice_slow,
    "softmax": _softmax,
    "squeeze": _squeeze,
}
"""How each operator is written."""
