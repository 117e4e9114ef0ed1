"""TensorFlow 2's object graph: read for the paths of variables, written for those that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from converters import BadInput
from converters.formats.format import ReadOptions
from converters.formats.io.protobuf_fields import Damaged
from converters.formats.tensorflow.object_graph import (
    GRAPH,
    Nodes,
    are_named_by_layers,
    graph_of,
    names_by_layers,
    text_of,
    text_tensor,
)
from converters.formats.tensorflow.opener import open_checkpoint_set
from tests.helpers.tensorflow_files import entry, message, number, write_v2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def graph(*nodes: tuple[Mapping[str, int], Sequence[str]]) -> bytes:
    """A graph of nodes: the numbers of children by name, and the keys of variables."""
    return b"".join(
        message(
            1,
            *(message(1, number(1, child), message(2, name.encode())) for name, child in children.items()),
            *(
                message(2, message(1, b"VARIABLE_VALUE"), message(3, f"{key}{SUFFIX}".encode()))
                for key in keys
            ),
        )
        for children, keys in nodes
    )


def bundle(folder: Path, content: bytes, keys: Sequence[str]) -> str:
    """A checkpoint of one float for every key, and an object graph."""
    data = b"\0\0\0\0" * len(keys) + content
    entries = {f"{key}{SUFFIX}".encode(): entry((), 4 * place, b"\0" * 4) for place, key in enumerate(keys)}
    entries[GRAPH.encode()] = entry((), 4 * len(keys), len(content), dtype=7)
    return write_v2(folder, entries, data)


def names_in(prefix: str) -> list[str]:
    with open_checkpoint_set(prefix, ReadOptions()) as checkpoint:
        return [name.removesuffix(SUFFIX) for name in checkpoint.tensors]


SAVED_MODEL = graph(
    ({"variables": 1, "layer-0": 2, "layer_with_weights-0": 2, "keras_api": 5}, []),
    ({"0": 3, "1": 4}, []),
    ({"keras_api": 1, "_conv": 6, "again": 0}, []),
    ({}, ["variables/0"]),
    ({}, ["variables/1"]),
    ({"metrics": 4}, []),
    ({"kernel": 3, "bias.x": 4}, []),
)
"""A Keras model whose keys are those of a list; one of its names has a dot."""


def test_a_saved_models_variables_have_the_paths_of_their_layers(tmp_path: Path) -> None:
    content, _ = text_tensor(SAVED_MODEL)
    prefix = bundle(tmp_path, content, ["variables/0", "variables/1"])
    assert names_in(prefix) == ["layer-0/_conv/bias..x", "layer-0/_conv/kernel"]


def test_of_a_model_and_its_backbone_the_model_counts() -> None:
    content = graph(
        ({"backbone": 2, "model": 1}, []),
        ({"layer_with_weights-0": 2, "layer_with_weights-1": 3}, []),
        ({"layer_with_weights-0": 4}, []),
        ({}, ["model/layer_with_weights-1/x"]),
        ({}, ["backbone/layer_with_weights-0/y"]),
    )
    assert names_by_layers(content) == {
        f"model/layer_with_weights-1/x{SUFFIX}": f"model/layer_with_weights-1{SUFFIX}",
        f"backbone/layer_with_weights-0/y{SUFFIX}": f"model/layer_with_weights-0/layer_with_weights-0{SUFFIX}",
    }
    assert not are_named_by_layers(["model/layer_with_weights-1/x", "backbone/layer_with_weights-0/y"])
    assert are_named_by_layers(["model/layer_with_weights-1/x", "model/layer_with_weights-0/y"])


def test_a_written_graph_leads_to_every_variable() -> None:
    keys = [f"model/layer_with_weights-{at}/_conv/kernel..x{SUFFIX}" for at in range(3)]
    assert names_by_layers(graph_of(keys)) == {key: key for key in keys}
    content, _ = text_tensor(graph_of(keys))
    assert text_of(content) == graph_of(keys)
    nodes = Nodes(graph_of([f"a.Sb/c{SUFFIX}"]))
    assert [name for name, _ in nodes[0].children] == ["a/b"]


@pytest.mark.parametrize(
    "content",
    [
        text_tensor(graph(({"layer_with_weights-0": 9}, [])))[0],
        text_tensor(number(1, 7))[0],
        text_tensor(SAVED_MODEL[:-3])[0],
        text_tensor(SAVED_MODEL)[0][:-1],
        text_tensor(message(1, message(1, message(2, b"\xff"))))[0],
        b"",
    ],
    ids=["no such object", "a number", "cut", "cut text", "no text", "nothing"],
)
def test_a_damaged_graph(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="object graph"):
        names_in(bundle(tmp_path, content, ["variables/0"]))


def test_a_graph_that_is_not_needed_is_not_read(tmp_path: Path) -> None:
    assert names_in(bundle(tmp_path, b"", ["layer_with_weights-0/kernel"])) == ["layer_with_weights-0/kernel"]


def test_a_graph_that_gives_two_variables_one_name_changes_none(tmp_path: Path) -> None:
    content, _ = text_tensor(graph(({"layer_with_weights-0": 1}, []), ({}, ["variables/0", "variables/1"])))
    keys = ["variables/0", "variables/1"]
    assert names_in(bundle(tmp_path, content, keys)) == keys


def test_objects_without_end() -> None:
    """A circle of objects is walked once."""
    content = graph(({"layer_with_weights-0": 1}, []), ({"up": 0}, ["k"]))
    assert names_by_layers(content) == {f"k{SUFFIX}": f"layer_with_weights-0{SUFFIX}"}
    with pytest.raises(Damaged):
        Nodes(b"\x0a\x05")
