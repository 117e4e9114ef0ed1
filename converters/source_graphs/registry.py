"""Which source network a file's tensors are of, by their own names, and its ONNX graph."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.errors import Refused

from . import networks
from .translation import translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from converters.formats.graph import Graph
    from converters.tensor import Tensor

    from .net import SourceNet
    from .record import SourceRecord

NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


class NoSourceNet(Refused):
    """No source framework's network has such names."""


def source_records() -> Iterator[SourceRecord]:
    """The record of every module of `networks`, in alphabetical order; each is imported when its turn comes."""
    for name in sorted(module.name for module in iter_modules(networks.__path__)):
        record: SourceRecord = import_module(f"{networks.__name__}.{name}").SOURCE
        yield record


def source_net(
    tensors: Mapping[str, Tensor],
    *,
    settings: Mapping[str, Any] = NO_SETTINGS,
    inverse_std: bool = False,
    model: str | None = "",
    layout: str = "",
) -> SourceNet:
    """The network that ``tensors`` are of, under its source framework's own names.

    ``settings`` are what no tensor shows, as far as it is known; each module of `networks` says which it reads and
    what it takes by default. ``model`` is the name of a model of video-nonlocal-net's or PySlowFast's, None if it is
    none of theirs; ``inverse_std`` says that TSN's batch norms have inverse standard deviations. ``layout`` is the
    file's layout, where it is known: PyTorch projects may have a source's names. Raises `NoSourceNet`
    where no source has such a network, `Refused` where some names are missing.
    """
    if model is None:
        raise NoSourceNet(
            "no model of the source framework's zoo pools and samples as these weights need",
            hint="convert them to a PyTorch layout",
        )
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    known = {**settings, "inverse_std": inverse_std, "model": model, "layout": layout}
    for record in source_records():
        if net := record.recognise(shapes, known):
            return net
    raise NoSourceNet(
        "has the names of no source framework's network",
        hint="expected a file of a source framework, such as Caffe2 or MXNet, or one with its names",
    )


def source_graph(net: SourceNet, tensors: Mapping[str, Tensor], *, outputs: Sequence[str] = ()) -> Graph:
    """A source network over its tensors in ONNX; see `translate`."""
    module = import_module(f"{__package__}.operators.{net.framework.lower()}")
    return translate(net, module.VOCABULARY, tensors, outputs=outputs)
