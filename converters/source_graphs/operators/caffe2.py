"""Caffe2's operators in ONNX: those that the networks of VMZ, video-nonlocal-net and PySlowFast consist of.

An argument is there for each axis (``kernels``, ``strides``; ``pads`` begins and then ends) or once for both axes of
an image (``kernel``, ``stride``, ``pad``). Facts from caffe2's ``conv_pool_op_base.h`` and ``spatial_batch_norm_op.h``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from converters.source_graphs.net import SourceOp
    from converters.source_graphs.translation import Emitter

_FLOAT, _INT64 = 1, 7
"""Element types by their numbers; the first is Caffe2's too."""


def _per_axis(args: Mapping[str, Any], name: str, axes: int, default: int) -> list[int]:
    if f"{name}s" in args:
        return list(args[f"{name}s"])
    return [args.get(name, default)] * axes


def _window(op: SourceOp, axes: int) -> dict[str, list[int]]:
    """Kernel, strides and pads of a convolution or a pool."""
    args = op.args
    if args.get("order", "NCHW") != "NCHW" or args.get("legacy_pad", 0):
        raise Refused(
            f"the Caffe2 operator {op.kind} is translated in the order NCHW and without legacy_pad only",
            where=op.outputs[0],
        )
    return {
        "kernel_shape": _per_axis(args, "kernel", axes, 1),
        "strides": _per_axis(args, "stride", axes, 1),
        "pads": _per_axis(args, "pad", 2 * axes, 0),
    }


def _conv(emit: Emitter, op: SourceOp) -> None:
    axes = len(emit.shape(op.inputs[1])) - 2
    dilations = _per_axis(op.args, "dilation", axes, 1)
    group = op.args.get("group", 1)
    emit("Conv", op.inputs, op.outputs[0], **_window(op, axes), group=group, dilations=dilations)


def _spatial_bn(emit: Emitter, op: SourceOp) -> None:
    # Scale, bias, mean, variance: ONNX's order too. In a test net nothing else is written.
    emit("BatchNormalization", op.inputs, op.outputs[0], epsilon=op.args.get("epsilon", 1e-5))


def _max_pool(emit: Emitter, op: SourceOp) -> None:
    if op.args.get("global_pooling"):
        emit("GlobalMaxPool", op.inputs, op.outputs[0])
    else:
        emit("MaxPool", op.inputs, op.outputs[0], **_window(op, len(op.args.get("kernels", (0, 0)))))


def _average_pool(emit: Emitter, op: SourceOp) -> None:
    if op.args.get("global_pooling"):
        emit("GlobalAveragePool", op.inputs, op.outputs[0])
    else:
        window = _window(op, len(op.args.get("kernels", (0, 0))))
        counted = int(bool(op.args.get("count_include_pad", 0)))
        emit("AveragePool", op.inputs, op.outputs[0], **window, count_include_pad=counted)


def _fc(emit: Emitter, op: SourceOp) -> None:
    """Axes before ``axis`` stay as they are."""
    value, weight, bias = op.inputs
    (output,), axis = op.outputs, op.args.get("axis", 1)
    flat = emit("Flatten", [value], f"{output}/flat", axis=axis)
    if axis == 1:
        emit("Gemm", [flat, weight, bias], output, transB=1)
        return
    rows = emit("Gemm", [flat, weight, bias], f"{output}/rows", transB=1)
    before = emit("Shape", [value], f"{output}/before", start=0, end=axis)
    shape = emit("Concat", [before, emit.integers(emit.shape(weight)[0])], f"{output}/shape", axis=0)
    emit("Reshape", [rows, shape], output)


def _same(kind: str) -> Callable[[Emitter, SourceOp], None]:
    def write(emit: Emitter, op: SourceOp) -> None:
        emit(kind, op.inputs, op.outputs[0])

    return write


def _with_dims(kind: str) -> Callable[[Emitter, SourceOp], None]:
    def write(emit: Emitter, op: SourceOp) -> None:
        emit(kind, [op.inputs[0], emit.integers(*op.args["dims"])], op.outputs[0])

    return write


def _along(kind: str) -> Callable[[Emitter, SourceOp], None]:
    def write(emit: Emitter, op: SourceOp) -> None:
        emit(kind, op.inputs, op.outputs[0], axis=op.args.get("axis", 1))

    return write


def _dropout(emit: Emitter, op: SourceOp) -> None:
    emit("Identity", op.inputs[:1], op.outputs[0])  # a test net's


def _affine_nd(emit: Emitter, op: SourceOp) -> None:
    """video-nonlocal-net's own operator: a scale and a shift for each channel."""
    value, scale, shift = op.inputs
    wide = emit.integers(-1, 1, 1, 1)
    by, to = (emit("Reshape", [name, wide], f"{name}/C111") for name in (scale, shift))
    emit("Add", [emit("Mul", [value, by], f"{op.outputs[0]}/scaled"), to], op.outputs[0])


def _reshape(emit: Emitter, op: SourceOp) -> None:
    """To an argument's shape or to a value's; the second output is the shape that was."""
    if len(op.outputs) > 1:
        emit("Shape", op.inputs[:1], op.outputs[1])
    shape = emit.integers(*op.args["shape"]) if "shape" in op.args else op.inputs[1]
    emit("Reshape", [op.inputs[0], shape], op.outputs[0])


def _batch_mat_mul(emit: Emitter, op: SourceOp) -> None:
    """The product of matrices [N, rows, columns], each transposed first where its argument is set."""
    sides = []
    for name, flag in zip(op.inputs, ("trans_a", "trans_b"), strict=True):
        turned = f"{op.outputs[0]}/{flag}"
        sides.append(emit("Transpose", [name], turned, perm=[0, 2, 1]) if op.args.get(flag) else name)
    emit("MatMul", sides, op.outputs[0])


def _scale(emit: Emitter, op: SourceOp) -> None:
    emit("Mul", [op.inputs[0], emit.floats(op.args["scale"])], op.outputs[0])


def _transpose(emit: Emitter, op: SourceOp) -> None:
    emit("Transpose", op.inputs, op.outputs[0], perm=op.args["axes"])


def _reduce_mean(emit: Emitter, op: SourceOp) -> None:
    axes = emit.integers(*op.args["axes"])
    emit("ReduceMean", [op.inputs[0], axes], op.outputs[0], keepdims=op.args.get("keepdims", 1))


def _shape(emit: Emitter, op: SourceOp) -> None:
    """Some axes' sizes."""
    whole = emit("Shape", op.inputs, f"{op.outputs[0]}/all")
    emit("Gather", [whole, emit.integers(*op.args["axes"])], op.outputs[0], axis=0)


def _cast(emit: Emitter, op: SourceOp) -> None:
    if op.args["to"] not in ("float", _FLOAT):
        raise Refused("the Caffe2 operator Cast is translated to floats only", where=op.outputs[0])
    emit("Cast", op.inputs, op.outputs[0], to=_FLOAT)


def _swish(emit: Emitter, op: SourceOp) -> None:
    (value,), (output,) = op.inputs, op.outputs
    emit("Mul", [value, emit("Sigmoid", [value], f"{output}/gate")], output)


def _roi_align(emit: Emitter, op: SourceOp) -> None:
    """Regions are rows of an image's number and two corners; here they are two values."""
    value, regions = op.inputs
    (output,), args = op.outputs, op.args
    first, second, end = (emit.integers(number) for number in (0, 1, 5))
    corners = emit("Slice", [regions, second, end, second], f"{output}/corners")
    column = emit("Slice", [regions, first, second, second], f"{output}/column")
    images = emit(
        "Cast", [emit("Squeeze", [column, second], f"{output}/image")], f"{output}/images", to=_INT64
    )
    emit(
        "RoiAlign",
        [value, corners, images],
        output,
        output_height=args["pooled_h"],
        output_width=args["pooled_w"],
        spatial_scale=args["spatial_scale"],
        sampling_ratio=args.get("sampling_ratio", 0),
        mode="avg",
        coordinate_transformation_mode="half_pixel" if args.get("aligned") else "output_half_pixel",
    )


def _slow_frames(emit: Emitter, op: SourceOp) -> None:
    """PySlowFast's own, from its loader: of T frames those at ``linspace(0, T - 1, T // alpha)`` rounded down.

    In float32 and from both ends, as PyTorch counts: where a place is a whole number, rounding decides (160 frames
    at alpha 4).
    """
    (value,), (output,) = op.inputs, op.outputs
    zero, one = emit.integers(0), emit.integers(1)

    def add(kind: str, inputs: list[str], name: str, **attributes: int) -> str:
        return emit(kind, inputs, f"{output}/{name}", **attributes)

    def real(name: str) -> str:
        return emit("Cast", [name], f"{name}/float", to=_FLOAT)

    frames = add("Shape", [value], "frames", start=2, end=3)
    count = add("Div", [frames, emit.integers(op.args["alpha"])], "count")
    scalars = [
        add("Squeeze", [name], f"{end}/scalar")
        for name, end in ((zero, "first"), (count, "end"), (one, "step"))
    ]
    number = add("Range", scalars, "number")
    last, final = add("Sub", [frames, one], "last"), add("Sub", [count, one], "final")
    step = add("Div", [real(last), real(add("Max", [final, one], "gaps"))], "gap")
    rising = add("Mul", [real(number), step], "rising")
    back = add("Mul", [real(add("Sub", [final, number], "left")), step], "back")
    falling = add("Sub", [f"{last}/float", back], "falling")
    half = add("Max", [add("Div", [count, emit.integers(2)], "half"), one], "middle")
    place = add("Where", [add("Less", [number, half], "before"), rising, falling], "place")
    emit("Gather", [value, add("Cast", [place], "index", to=_INT64)], output, axis=2)


VOCABULARY = {
    "AffineNd": _affine_nd,
    "AveragePool": _average_pool,
    "BatchMatMul": _batch_mat_mul,
    "Cast": _cast,
    "Concat": _along("Concat"),
    "Conv": _conv,
    "Div": _same("Div"),
    "Dropout": _dropout,
    "ExpandDims": _with_dims("Unsqueeze"),
    "FC": _fc,
    "MaxPool": _max_pool,
    "Mul": _same("Mul"),
    "ReduceMean": _reduce_mean,
    "Relu": _same("Relu"),
    "Reshape": _reshape,
    "RoIAlign": _roi_align,
    "Scale": _scale,
    "Shape": _shape,
    "Sigmoid": _same("Sigmoid"),
    "SlowFrames": _slow_frames,
    "Softmax": _along("Softmax"),
    "SpatialBN": _spatial_bn,
    "Squeeze": _with_dims("Squeeze"),
    "Sum": _same("Sum"),
    "Swish": _swish,
    "Transpose": _transpose,
}
"""How each operator is written."""
