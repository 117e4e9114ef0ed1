"""TensorFlow's operators in ONNX: those that I3D consists of, batch norm as Sonnet builds it, and MoViNet's."""

from __future__ import annotations

from functools import partial

from . import channels_last, garden

VOCABULARY = {
    **garden.VOCABULARY,
    "AvgPool3D": partial(channels_last.pool, kind="AveragePool", window="ksize"),
    "BatchNorm": partial(channels_last.normalise, epsilon="variance_epsilon"),
    "BiasAdd": channels_last.add_bias,
    "ConcatV2": channels_last.concatenate,
    "Conv3D": channels_last.convolve,
    "MaxPool3D": partial(channels_last.pool, kind="MaxPool", window="ksize"),
    "Mean": channels_last.mean,
    "Placeholder": channels_last.transpose_clip,
    "Relu": channels_last.relu,
    "Squeeze": partial(channels_last.squeeze, axes="axis"),
}
"""How each operator is written."""
