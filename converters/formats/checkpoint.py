"""An open checkpoint."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.errors import ConverterError
from converters.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from converters.files import SourceFile
    from converters.tensor import Tensor

    from .graph import Caffe2Net, Node
    from .other_value import OtherValue

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Checkpoint(Record):
    """An open checkpoint, in one file or several. Its tensors are lazy; it closes its files.

    ``format`` is the format of the layouts that it may have, as tables name them, or ``"onnx"``, which can hold any
    layout; ``container`` is the file format in words. ``other_values`` are all things in the file that no conversion
    takes, by name; ``metadata`` are those that describe the tensors or the network as a whole: texts of a header, a
    graph, the code of a script. ``details`` describe the file further, as plain data for the provenance record.
    ``provenance`` is the record that this tool wrote into the file, if any. ``inside`` is the file that an archive
    holds, where that is what its authors publish hashes of.

    ``model`` says in words what sort of model the names are of, for refusals, where they show that much.

    A file may hold a network beside its weights: ``declared`` are the network's properties that an ONNX graph states
    (``bn_eps``, ``pool1``, ``stem_stride``), ``nodes`` that graph's nodes, and ``predict_net`` the Caffe2 net that
    goes with an init net.
    """

    path: str
    format: str
    container: str
    tensors: Mapping[str, Tensor]
    files: tuple[SourceFile, ...] = ()
    inside: SourceFile | None = None
    other_values: Mapping[str, OtherValue] = _NOTHING
    metadata: Mapping[str, OtherValue] = _NOTHING
    details: Mapping[str, Any] = _NOTHING
    provenance: Mapping[str, Any] | None = None
    declared: Mapping[str, Any] = _NOTHING
    nodes: tuple[Node, ...] = ()
    model: str = ""
    predict_net: Caffe2Net | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ConverterError):
            error.at(self.path)
        self.close()

    def close(self) -> None:
        """Close all files. Tensors that still point into them can no longer be read."""
        for file in self.files:
            file.close()

    @property
    def local(self) -> str:
        """Where its first file is on this machine; `path` may be an address."""
        return self.files[0].local if self.files else self.path

    @property
    def unconverted(self) -> dict[str, OtherValue]:
        """The tensors among the others that are not converted, by name."""
        return {
            name: other for name, other in self.other_values.items() if other.is_tensor and not other.beside
        }

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)
