"""TensorFlow 2's object graph, the text beside a checkpoint's variables by which TensorFlow restores objects.

A node is an object, its children are objects that it holds under names, and its attributes are variables with their
keys in the checkpoint (``trackable_object_graph.proto``). A key is one path to a variable among several: a SavedModel
of Keras has ``variables/7`` for what is ``layer_with_weights-1/_head/_conv/kernel`` too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.formats.io.crc32c import masked, running_crc32c
from converters.formats.io.protobuf_fields import BYTES, Damaged, fields, text, varint
from converters.formats.io.protobuf_writer import message, number
from converters.formats.io.protobuf_writer import varint as written_varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from converters.formats.io.protobuf_fields import Buffer, Field

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The text's key."""

COUNTER = "save_counter/.ATTRIBUTES/VARIABLE_VALUE"
"""The key of the number of times that a ``tf.train.Checkpoint`` was saved."""

ATTRIBUTE = "VARIABLE_VALUE"
SUFFIX = f"/.ATTRIBUTES/{ATTRIBUTE}"
"""What follows an object's path in the key of a variable."""

SLOT = "/.OPTIMIZER_SLOT/"
"""What follows a variable's path in the key of an optimizer's slot."""

LAYER = "layer_with_weights-"
"""What a functional model of Keras calls its layers that have variables, before their numbers."""

_OTHER_PATHS = ("variables", "trainable_variables", "non_trainable_variables", "keras_api", "signatures")
"""Children by which a SavedModel reaches what has a name of its own."""


class Node(NamedTuple):
    """An object: the names and numbers of its ``children``, and the keys of its ``variables``."""

    children: Sequence[tuple[str, int]]
    variables: Sequence[str]


def text_of(data: bytes) -> bytes:
    """The one text of a string tensor. Raises `Damaged`."""
    size, at = varint(data, 0, len(data))
    if len(data) != at + 4 + size:
        raise Damaged("a string of another length than it claims")
    return data[at + 4 :]


def text_tensor(content: bytes) -> tuple[bytes, int]:
    """A string tensor of one text as a checkpoint has it, and its masked CRC-32C: length, checksum, text
    (``WriteStringTensor`` of ``tensor_bundle.cc``)."""
    crc = running_crc32c()
    crc.update(len(content).to_bytes(4, "little"))
    checksum = masked(crc.value()).to_bytes(4, "little")
    crc.update(checksum)
    crc.update(content)
    return written_varint(len(content)) + checksum + content, masked(crc.value())


class Nodes:
    """The nodes of an object graph, the root first. Each is read when it is asked for."""

    def __init__(self, graph: bytes) -> None:
        """Raises `Damaged`."""
        self._graph = graph
        self._fields = [field for field in fields(graph) if field.number == 1]
        self._read: dict[int, Node] = {}

    def __getitem__(self, number: int) -> Node:
        """One node. Raises `Damaged`, also for one that there is not."""
        if number not in self._read:
            if not number < len(self._fields):
                raise Damaged("an object that it does not have")
            self._read[number] = _node(self._graph, self._fields[number])
        return self._read[number]


def _node(graph: Buffer, field: Field) -> Node:
    if field.wire != BYTES:
        raise Damaged("a number where an object belongs")
    children, variables = [], []
    for item in fields(graph, field.start, field.end):
        if item.number == 1 and item.wire == BYTES:
            child, name = 0, ""
            for part in fields(graph, item.start, item.end):
                if part.number == 1:
                    child = part.value
                elif part.number == 2:
                    name = text(graph, part)
            children.append((name, child))
        elif item.number == 2 and item.wire == BYTES:
            parts = {part.number: part for part in fields(graph, item.start, item.end)}
            if 3 in parts and 1 in parts and text(graph, parts[1]) == ATTRIBUTE:
                variables.append(text(graph, parts[3]))
    return Node(children, variables)


def names_by_layers(graph: bytes) -> dict[str, str]:
    """For the keys of a Keras model's variables their paths by its layers; empty where there is no such model.

    Where a checkpoint has several (a classifier, and its backbone again), it is the one with the most variables.
    Raises `Damaged`.
    """
    best: dict[str, str] = {}
    nodes = Nodes(graph)
    for prefix, start in _walk(nodes, 0):
        if any(name.startswith(LAYER) for name, _ in nodes[start].children):
            found = {
                key: f"{path}{SUFFIX}"
                for path, place in _walk(nodes, start, prefix)
                for key in nodes[place].variables
            }
            if len(found) > len(best):
                best = found
            if prefix.rpartition("/")[2].startswith(LAYER):
                break  # a layer of a model that was found before
    return best


def are_named_by_layers(keys: Iterable[str]) -> bool:
    """Whether the keys of a Keras model's variables are their paths by its layers already."""
    keys = list(keys)
    models = {key.partition(LAYER)[0] for key in keys if LAYER in key}
    return len(models) == 1 and not any(key.startswith("variables/") for key in keys)


def _walk(nodes: Nodes, start: int, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Every node that can be reached from one by names of its own: its shortest path, after ``prefix``, and its
    number."""
    paths = {start: prefix}
    queue = [start]
    for place in queue:
        yield paths[place], place
        for name, child in nodes[place].children:
            if child not in paths and name not in _OTHER_PATHS:
                escaped = name.replace(".", "..").replace("/", ".S")
                paths[child] = f"{paths[place]}/{escaped}" if paths[place] else escaped
                queue.append(child)


def graph_of(keys: Iterable[str]) -> bytes:
    """The object graph of variables with these keys: an object for every part of their paths."""
    children: list[dict[str, int]] = [{}]
    variables: dict[int, str] = {}
    for key in keys:
        place = 0
        for part in key.removesuffix(SUFFIX).split("/"):
            name = part.replace(".S", "/").replace("..", ".")
            if name not in children[place]:
                children[place][name] = len(children)
                children.append({})
            place = children[place][name]
        variables[place] = key
    return b"".join(message(1, _written(named, variables.get(place))) for place, named in enumerate(children))


def _written(children: Mapping[str, int], key: str | None) -> bytes:
    """A node."""
    content = b"".join(
        message(1, number(1, place) + message(2, name.encode())) for name, place in children.items()
    )
    if key is not None:
        path = key.removesuffix(SUFFIX)
        content += message(
            2, b"".join(message(at, value.encode()) for at, value in ((1, ATTRIBUTE), (2, path), (3, key)))
        )
    return content
