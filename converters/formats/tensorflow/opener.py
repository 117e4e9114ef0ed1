"""Open TensorFlow checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import BadInput, UsageError
from converters.formats.checkpoint import Checkpoint
from converters.formats.io.protobuf_fields import Damaged
from converters.formats.other_value import OtherValue, unconverted

from .averages import averages_as_variables
from .files import graph_beside, names_checkpoint
from .graph_file import GraphFile
from .object_graph import COUNTER, GRAPH, SUFFIX, are_named_by_layers, names_by_layers, text_of
from .reader import read_tensorflow
from .sorts_of_models import model_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.files import SourceFile
    from converters.formats.format import ReadOptions
    from converters.tensor import Tensor

    from .reader import TensorflowCheckpoint


def open_tensorflow(file: SourceFile, _kind: str, options: ReadOptions) -> Checkpoint | None:
    """Open the checkpoint that a file belongs to; None for a file that belongs to none."""
    if not names_checkpoint(file.path):
        return None
    file.close()
    return open_checkpoint_set(file.path, options)


def open_checkpoint_set(path: str, options: ReadOptions) -> Checkpoint:
    """Open a checkpoint by its prefix, its folder, or one of its files; an entry names the averages that are wanted in
    place of the variables. Raises `BadInput`, `UsageError`."""
    contents = read_tensorflow(path, checksum=options.checksum)
    tensors: Mapping[str, Tensor] = contents.tensors
    details: dict[str, Any] = {"checksums": "verified" if options.checksum else "not verified"}
    if options.entry is not None:
        try:
            tensors = averages_as_variables(tensors, options.entry, path)
        except UsageError:
            contents.close()
            raise
        details["wrapper"] = options.entry
        details["without_average"] = [
            name for name in contents.tensors if tensors.get(name) is contents.tensors[name]
        ]
    tensors = dict(_named_by_layers(tensors, contents))
    other_values = dict(contents.other_values)
    if counter := tensors.pop(COUNTER, None):
        other_values[COUNTER] = unconverted(counter.dtype, counter.shape, counter.data, beside=True)
    graph = graph_beside(contents.prefix)
    return Checkpoint(
        path=contents.prefix,
        files=contents.files,
        format="tensorflow",
        container=f"TensorFlow checkpoint, {contents.version}",
        tensors=tensors,
        other_values=other_values,
        metadata={"the graph": OtherValue(kind="protocol buffer", data=GraphFile(graph))} if graph else {},
        details=details,
        model=model_in_words(tensors),
    )


def _named_by_layers(tensors: Mapping[str, Tensor], contents: TensorflowCheckpoint) -> Mapping[str, Tensor]:
    """The variables of a Keras model under their paths by its layers. A key may be another path to the same variable,
    such as a SavedModel's ``variables/7``, which only the object graph tells. Raises `BadInput`."""
    graph = contents.other_values.get(GRAPH)
    keys = [name for name in tensors if name.endswith(SUFFIX)]
    if graph is None or graph.data is None or are_named_by_layers(keys):
        return tensors
    try:
        names = names_by_layers(text_of(b"".join(map(bytes, graph.data.chunks()))))
    except Damaged as error:
        contents.close()
        raise BadInput(
            f"is damaged: its object graph has {error}", path=contents.prefix, hint="fetch it again"
        ) from None
    named = {names.get(key, key): tensor for key, tensor in tensors.items()}
    if len(named) < len(tensors):  # no graph of TensorFlow's: two variables have one name
        return tensors
    return {name: tensor._replace(name=name) for name, tensor in sorted(named.items())}
