"""Every place of an ONNX model where weights can be: constants, branches, loops, functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.onnx.reader import OnnxModel, read_onnx
from converters.formats.open import open_checkpoint
from converters.printable import shape_text

W = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
V = np.arange(4, dtype=np.float32) - 2.5


def read(path: Path, model: onnx.ModelProto) -> tuple[OnnxModel, dict[str, np.ndarray]]:
    path.write_bytes(model.SerializeToString())
    with SourceFile(path) as file:
        found = read_onnx(file)
        values = {
            name: np.frombuffer(one.tobytes(), one.dtype).reshape(one.shape)
            for name, one in found.tensors.items()
        }
    return found, values


def described(found: OnnxModel) -> dict[str, str]:
    return {
        name: f"{stored.dtype} {shape_text(stored.shape)}{', a constant of a node' if stored.in_node else ''}"
        for name, stored in found.others.items()
    }


def model(nodes=(), initializers=(), **extra) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "g", [], [], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], **extra)


def constant(name: str, **value) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], **value)


def branch(*initializers: TensorProto, nodes=()) -> onnx.GraphProto:
    return helper.make_graph(
        list(nodes), "b", [], [helper.make_empty_tensor_value_info("o")], list(initializers)
    )


def test_all_weights_in_constants(tmp_path: Path) -> None:
    """As Paddle's and CNTK's exporters have them; numbers of the graph are not weights."""
    nodes = [
        constant("w", value=numpy_helper.from_array(W)),
        constant("v", value_floats=V.tolist()),
        constant("eps", value_float=1e-5),
        constant("axes", value_ints=[1, 2]),
        constant("axis", value_int=-1),
        constant("mode", value_string="nearest"),
        constant("words", value_strings=["a", "b"]),
        constant("shape", value=numpy_helper.from_array(np.array([1, -1]))),
        constant("scales", value=numpy_helper.from_array(V)),
        helper.make_node("Gemm", ["x", "w"], ["y"]),
        helper.make_node("Resize", ["y", "", "scales"], ["z"]),
    ]
    found, values = read(tmp_path / "m.onnx", model(nodes))
    assert list(values) == ["w", "v"]
    assert np.array_equal(values["w"], W)
    assert np.array_equal(values["v"], V)
    assert found.others.keys() == {"eps", "axes", "axis", "mode", "words", "shape", "scales"}
    assert described(found)["scales"] == "float32 4, a constant of a node"
    assert described(found)["words"] == "string 2, a constant of a node"


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_constants_of_other_floats(dtype: str, tmp_path: Path) -> None:
    found, values = read(
        tmp_path / "m.onnx", model([constant("w", value=numpy_helper.from_array(W.astype(dtype)))])
    )
    assert values["w"].dtype == dtype
    assert np.array_equal(values["w"], W.astype(dtype))
    assert not found.others


def test_constants_beside_initializers_are_named(tmp_path: Path) -> None:
    """The graph's own numbers, as in the files that are written here: the weights are the initializers."""
    nodes = [constant("ones", value=numpy_helper.from_array(np.ones(3, np.float32)))]
    found, values = read(tmp_path / "m.onnx", model(nodes, [numpy_helper.from_array(W, "w")]))
    assert list(values) == ["w"]
    assert described(found) == {"ones": "float32 3, a constant of a node"}


def test_branches_and_bodies(tmp_path: Path) -> None:
    """The two branches may call different weights by one name."""
    inner = branch(numpy_helper.from_array(W + 3, "w"))
    scan = helper.make_node("Scan", ["x"], ["s"], body=inner, num_scan_inputs=1)
    nodes = [
        helper.make_node(
            "If",
            ["c"],
            ["y"],
            then_branch=branch(numpy_helper.from_array(W, "w")),
            else_branch=branch(numpy_helper.from_array(W + 1, "w")),
        ),
        helper.make_node(
            "Loop", ["n"], ["z"], body=branch(numpy_helper.from_array(W + 2, "w"), nodes=[scan])
        ),
    ]
    found, values = read(tmp_path / "m.onnx", model(nodes, [numpy_helper.from_array(V, "v")]))
    expected = {
        "v": V,
        "y/then_branch/w": W,
        "y/else_branch/w": W + 1,
        "z/body/s/body/w": W + 3,
        "z/body/w": W + 2,
    }
    assert values.keys() == expected.keys()
    for name, array in expected.items():
        assert np.array_equal(values[name], array)
    assert [node.kind for node in found.nodes] == ["If", "Loop"]


def test_weights_in_branches_alone(tmp_path: Path) -> None:
    nodes = [
        helper.make_node(
            "If",
            ["c"],
            ["y"],
            then_branch=branch(nodes=[constant("w", value=numpy_helper.from_array(W))]),
            else_branch=branch(nodes=[constant("n", value_float=0.5)]),
        )
    ]
    found, values = read(tmp_path / "m.onnx", model(nodes))
    assert list(values) == ["y/then_branch/w"]
    assert list(found.others) == ["y/else_branch/n"]


def test_functions(tmp_path: Path) -> None:
    function = helper.make_function(
        "own",
        "block",
        ["x"],
        ["y"],
        [constant("w", value=numpy_helper.from_array(W)), helper.make_node("MatMul", ["x", "w"], ["y"])],
        [helper.make_opsetid("", 17)],
    )
    nodes = [helper.make_node("block", ["x"], ["y"], domain="own")]
    found, values = read(tmp_path / "m.onnx", model(nodes, functions=[function]))
    assert np.array_equal(values["own.block/w"], W)
    assert not found.others


def test_training_graphs(tmp_path: Path) -> None:
    whole = model((), [numpy_helper.from_array(W, "w")])
    whole.training_info.add().algorithm.CopyFrom(branch(numpy_helper.from_array(V, "momentum")))
    _, values = read(tmp_path / "m.onnx", whole)
    assert list(values) == ["w", "training_info/0/2/momentum"]
    assert np.array_equal(values["training_info/0/2/momentum"], V)


def test_tensors_in_other_nodes_are_named(tmp_path: Path) -> None:
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(V), numpy_helper.from_array(np.arange(4)), [2, 3]
    )
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["y"], value=numpy_helper.from_array(np.float32([2]))),
        helper.make_node("Custom", ["x"], ["z"], domain="own", weights=[numpy_helper.from_array(V, "v")] * 2),
        helper.make_node("Constant", [], ["few"], sparse_value=sparse),
    ]
    found, _ = read(tmp_path / "m.onnx", model(nodes, [numpy_helper.from_array(W, "w")]))
    assert described(found) == {
        "y/value": "float32 1, a constant of a node",
        "z/weights/0": "float32 4, a constant of a node",
        "z/weights/1": "float32 4, a constant of a node",
        "few": "sparse tensor scalar, a constant of a node",
    }


def test_tensors_of_other_types_alone_are_shown(tmp_path: Path) -> None:
    quantised = [
        numpy_helper.from_array(W.astype(np.int8), "w"),
        helper.make_tensor("texts", TensorProto.STRING, (2,), [b"a", b"b"]),
    ]
    path = tmp_path / "m.onnx"
    path.write_bytes(model((), quantised).SerializeToString())
    with open_checkpoint(str(path)) as checkpoint:
        assert not checkpoint.tensors
        kept = {name: (other.kind, other.shape) for name, other in checkpoint.other_values.items()}
        assert kept == {"w": ("int8", (2, 3)), "texts": ("string", (2,))}


def test_external_data_that_are_missing(tmp_path: Path) -> None:
    whole = model((), [numpy_helper.from_array(W, "w")])
    onnx.external_data_helper.convert_model_to_external_data(whole, location="w.data", size_threshold=0)
    onnx.save(whole, tmp_path / "m.onnx")
    with open_checkpoint(str(tmp_path / "m.onnx")) as checkpoint:
        assert checkpoint.tensors["w"].tobytes() == W.tobytes()
    (tmp_path / "w.data").unlink()
    with pytest.raises(
        BadInput, match=r"its weights in another file, w.data, which is not there \(w\): put it beside"
    ):
        open_checkpoint(str(tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Custom", ["x"], []),
        helper.make_node("Conv", ["x"], ["y"]),
        helper.make_node("Relu", ["x"], ["x"]),
    ],
    ids=["no output", "no weight", "a circle"],
)
def test_nodes_on_the_way_from_the_clip_may_be_odd(node: onnx.NodeProto, tmp_path: Path) -> None:
    whole = model([node], [numpy_helper.from_array(W, "w")])
    whole.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8, 8]))
    (tmp_path / "m.onnx").write_bytes(whole.SerializeToString())
    with open_checkpoint(str(tmp_path / "m.onnx")) as checkpoint:
        assert list(checkpoint.tensors) == ["w"]


@pytest.mark.full
def test_every_model_that_onnx_ships() -> None:
    """Each opens or is said to hold no weights, and where it opens, every initializer is there as onnx reads it."""
    folder = Path(onnx.__file__).parent / "backend/test/data"
    paths = sorted(folder.glob("**/*.onnx"))
    assert len(paths) > 100
    for path in paths:
        proto = onnx.load(path)
        arrays = {one.name: numpy_helper.to_array(one) for one in proto.graph.initializer}
        if not arrays and not any(node.op_type.startswith("Constant") for node in proto.graph.node):
            with pytest.raises(BadInput, match="holds no weights"):
                open_checkpoint(str(path))
            continue
        with open_checkpoint(str(path)) as checkpoint:
            for name, tensor in checkpoint.tensors.items():
                if name in arrays:
                    assert tensor.tobytes() == arrays[name].tobytes()
