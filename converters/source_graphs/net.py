"""A network as a list of its source framework's operators: plain data, and what builds it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Shape = tuple[int, ...]
    Size = int | str


class SourceOp(NamedTuple):
    """One operator of a source framework. An output may have the name of an earlier value, which it replaces, as
    operators in place do."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    args: Mapping[str, Any]


class SourceNet(Record):
    """A network as its source framework computes it.

    ``framework`` names a module of `operators`, such as ``"Caffe2"`` or ``"MXNet"``. ``inputs`` have a size or a free
    name for every axis. ``axes`` says how a clip ``[N, C, T, H, W]`` is fed: as ``"NCTHW"``, as ``"NTHWC"``, or as
    ``"frames"``, every frame an image of its own, the logits averaged over them. ``blocks`` are the values to
    compare, by the names of the reference networks' end points, in order; ``"logits"`` is the last where there is a
    classifier. ``states`` are further inputs of a network over a stream, all zeros before its first frame: the shape of
    each, and the value that it has afterwards. A size of ``"H/8"`` is an eighth of the height, rounded up.
    """

    name: str
    framework: str
    ops: tuple[SourceOp, ...]
    inputs: Mapping[str, tuple[Size, ...]]
    blocks: Mapping[str, str]
    axes: str = "NCTHW"
    states: Mapping[str, tuple[tuple[Size, ...], str]] = MappingProxyType({})

    @property
    def output(self) -> str:
        """The value that the network computes: the last block."""
        return list(self.blocks.values())[-1]


class NetBuilder:
    """Writes a network operator by operator, over ``tensors`` (name to shape) whose names begin with ``scope``.

    Operators are given names without the scope.
    """

    def __init__(self, tensors: Mapping[str, Shape], scope: str = "") -> None:
        self.shapes = {
            name.removeprefix(scope): shape for name, shape in tensors.items() if name.startswith(scope)
        }
        self.scope = scope
        self.ops: list[SourceOp] = []
        self.blocks: dict[str, str] = {}

    def op(self, kind: str, inputs: Iterable[str], *outputs: str, **args: Any) -> str:
        """Add an operator; returns its first output."""
        read = tuple(self.scope + name if name in self.shapes else name for name in inputs)
        self.ops.append(SourceOp(kind, read, outputs, args))
        return outputs[0]

    def block(self, label: str, value: str = "") -> str:
        """Have a value, by default ``label``, compared with the reference network's end point ``label``."""
        self.blocks[label] = value or label
        return self.blocks[label]

    def net(
        self, name: str, framework: str, inputs: Mapping[str, tuple[Size, ...]], *, axes: str = "NCTHW"
    ) -> SourceNet:
        """The network that was written."""
        return SourceNet(
            name=name, framework=framework, ops=tuple(self.ops), inputs=inputs, blocks=self.blocks, axes=axes
        )
