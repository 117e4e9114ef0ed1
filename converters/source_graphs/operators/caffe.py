"""Caffe's layers in ONNX: those of C3D, C3D-ResNet and the TSN fork's BN-Inception, in 2-D and 3-D.

A pool's output is ``ceil((size + 2 pad - kernel) / stride) + 1`` positions; an average counts the padding. Vectors
may have further axes of size one, matrices further leading ones. Chainer's functions of the same nets compute the
same (``cover_all``), so that its files are read with these layers too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import Refused

if TYPE_CHECKING:
    from converters.source_graphs.net import SourceOp
    from converters.source_graphs.translation import Emitter


def _vector(emit: Emitter, name: str) -> str:
    """A blob of C values, whatever its shape, as a vector."""
    return emit("Reshape", [name, emit.integers(-1)], f"{name}/C") if len(emit.shape(name)) > 1 else name


def _convolution(emit: Emitter, op: SourceOp) -> None:
    value, weight, *bias = op.inputs
    kernel = emit.shape(weight)[2:]
    emit(
        "Conv",
        [value, weight, *(_vector(emit, name) for name in bias)],
        op.outputs[0],
        kernel_shape=kernel,
        strides=op.args.get("stride", [1] * len(kernel)),
        pads=[*op.args.get("pad", [0] * len(kernel))] * 2,
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
        "pads": [*args.get("pad", [0] * len(kernel))] * 2,
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
    """The TSN fork's: slope, bias, moving mean, moving variance. For some months the fork kept the inverse of the
    standard deviation in the place of the last."""
    value, slope, bias, mean, last = (op.inputs[0], *(_vector(emit, name) for name in op.inputs[1:]))
    epsilon = op.args["eps"]
    if op.args.get("inverse_std"):
        power = emit("Pow", [last, emit.floats(-2)], f"{op.inputs[4]}/variance+eps")
        last = emit("Sub", [power, emit.floats(epsilon)], f"{op.inputs[4]}/variance")
    emit("BatchNormalization", [value, slope, bias, mean, last], op.outputs[0], epsilon=epsilon)


def _batch_norm(emit: Emitter, op: SourceOp) -> None:
    """Sums of means and of variances, and what they are to be divided by; a divisor of 0 makes all of them 0."""
    value, means, variances, divisor = op.inputs
    zero = emit.floats(0)
    none = emit("Equal", [divisor, zero], f"{divisor}/is_zero")
    inverse = emit("Reciprocal", [divisor], f"{divisor}/inverse")
    factor = emit("Where", [none, zero, inverse], f"{divisor}/factor")
    mean, variance = (emit("Mul", [name, factor], f"{name}/mean") for name in (means, variances))
    count = emit.shape(means)[0]
    read = [value, emit.floats(1, count), emit.floats(0, count), mean, variance]
    emit("BatchNormalization", read, op.outputs[0], epsilon=op.args["eps"])


def _scale(emit: Emitter, op: SourceOp) -> None:
    value, slope, bias = op.inputs
    wide = emit.integers(-1, *[1] * op.args["axes"])
    by, to = (emit("Reshape", [name, wide], f"{name}/wide") for name in (slope, bias))
    emit("Add", [emit("Mul", [value, by], f"{op.outputs[0]}/scaled"), to], op.outputs[0])


def _eltwise(emit: Emitter, op: SourceOp) -> None:
    """Its default operation, a sum."""
    emit("Sum", op.inputs, op.outputs[0])


def _concat(emit: Emitter, op: SourceOp) -> None:
    emit("Concat", op.inputs, op.outputs[0], axis=1)


def _relu(emit: Emitter, op: SourceOp) -> None:
    emit("Relu", op.inputs, op.outputs[0])


VOCABULARY = {
    "BN": _bn,
    "BatchNorm": _batch_norm,
    "Concat": _concat,
    "Convolution": _convolution,
    "Eltwise": _eltwise,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "ReLU": _relu,
    "Scale": _scale,
}
"""How each layer is written."""
