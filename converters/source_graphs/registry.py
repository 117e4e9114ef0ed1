"""Which source network a file's tensors are of, by their own names, and its ONNX graph."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.source_graphs.networks import (
    bn_inception,
    c3d,
    c3d_resnet,
    i3d,
    slowfast,
    video_nonlocal,
    vmz,
)
from converters.source_graphs.operators import caffe, caffe2, tensorflow

from .graph import translate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from converters.tensor import Tensor

    from .graph import Graph, SourceNet, Vocabulary

_VOCABULARIES: Mapping[str, Vocabulary] = {
    "Caffe2": caffe2.VOCABULARY,
    "Caffe": caffe.VOCABULARY,
    "Chainer": caffe.VOCABULARY,
    "TensorFlow": tensorflow.VOCABULARY,
}


class NoSourceNet(Refused):
    """No source-side network has such names."""


def source_net(
    tensors: Mapping[str, Tensor],
    *,
    settings: Mapping[str, Any] = MappingProxyType({}),
    inverse_std: bool = False,
    model: str | None = "",
) -> SourceNet:
    """The network that ``tensors`` are of, under its source framework's own names.

    ``settings`` are what no tensor tells, by name, as far as it is known: VMZ's ``pool1`` and ``stem_stride``, by
    default as in its released files. ``model`` is that of video-nonlocal-net or PySlowFast, which no tensor tells
    either; None if it is none of theirs. ``inverse_std`` says that TSN's norms have inverse deviations. Raises
    `NoSourceNet` where no source has such a network, `Refused` where some names are missing.
    """
    if model is None:
        raise NoSourceNet(
            "no model of the source framework's zoo pools and samples as these weights need",
            hint="convert them to a PyTorch layout",
        )
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    found = (
        vmz.network(shapes, settings)
        or slowfast.network(shapes, model=model)
        or video_nonlocal.network(shapes, model=model)
        or i3d.network(shapes)
        or c3d.network(shapes)
        or c3d_resnet.network(shapes)
        or bn_inception.network(shapes, inverse_std=inverse_std)
    )
    if found is None:
        raise NoSourceNet(
            "has the names of no source framework's network",
            hint="a file of Caffe2, TensorFlow, Caffe or Chainer is wanted, or one with their names",
        )
    return found


def source_graph(net: SourceNet, tensors: Mapping[str, Tensor], *, outputs: Sequence[str] = ()) -> Graph:
    """A source network over its tensors in ONNX, see `graph.translate`."""
    return translate(net, _VOCABULARIES[net.framework], tensors, outputs=outputs)
