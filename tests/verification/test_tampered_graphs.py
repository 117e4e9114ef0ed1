"""ONNX graphs that somebody changed: no verdict takes another function for the source's.

Each change is made to an output of ours and to the same file as a source. Its weights stay as they are, or are not
where a reader without care would look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from converters import ConverterError, convert, verify
from converters.cli.main import main
from converters.errors import Refused
from tests.helpers import vmz_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Around = Callable[[onnx.ModelProto, Path], object]
    Change = Callable[[onnx.ModelProto], object]


def nodes(model: onnx.ModelProto, kind: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == kind]


def place(model: onnx.ModelProto, node: onnx.NodeProto) -> int:
    return next(index for index, one in enumerate(model.graph.node) if one.output == node.output)


def attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    return next(one for one in node.attribute if one.name == name)


def weight(model: onnx.ModelProto, name: str) -> TensorProto:
    return next(one for one in model.graph.initializer if one.name == name)


def after(model: onnx.ModelProto, node: onnx.NodeProto, *added: onnx.NodeProto) -> None:
    """Put nodes behind one, whose first output they take as ``before`` and give under its name."""
    name = node.output[0]
    at = place(model, node)
    node.output[0] = "before"
    for number, one in enumerate(added):
        model.graph.node.insert(at + 1 + number, one)
    assert added[-1].output[0] == name


# Changes of the function


def another_domain(model: onnx.ModelProto) -> None:
    nodes(model, "Relu")[3].domain = "com.microsoft"


def a_local_function(model: onnx.ModelProto) -> None:
    """A function of the model's own by the name of an operator."""
    relu = nodes(model, "Relu")[3]
    relu.domain, relu.op_type = "own", "Relu"
    model.opset_import.append(helper.make_opsetid("own", 1))
    body = [helper.make_node("Relu", ["a"], ["c"]), helper.make_node("Add", ["c", "c"], ["b"])]
    opset = helper.make_opsetid("", model.opset_import[0].version)
    model.functions.append(helper.make_function("own", "Relu", ["a"], ["b"], body, [opset]))


def another_number(model: onnx.ModelProto) -> None:
    attribute(nodes(model, "Conv")[5], "dilations").ints[0] = 2


def another_pad_by_name(model: onnx.ModelProto) -> None:
    """A text: `auto_pad` in the place of numbers."""
    conv = next(node for node in nodes(model, "Conv") if any(attribute(node, "pads").ints))
    conv.attribute.remove(attribute(conv, "pads"))
    conv.attribute.append(helper.make_attribute("auto_pad", "VALID"))


def a_branch(model: onnx.ModelProto) -> None:
    """A graph as an attribute: a condition that always holds, and what it leads to."""
    relu = nodes(model, "Relu")[3]
    name = relu.output[0]
    value = helper.make_empty_tensor_value_info("inner")
    graphs = [
        helper.make_graph([helper.make_node(kind, ["before"], ["inner"])], "g", [], [value])
        for kind in ("Neg", "Identity")
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    after(
        model,
        relu,
        helper.make_node("If", ["always"], [name], then_branch=graphs[0], else_branch=graphs[1]),
    )


def a_sparse_constant(model: onnx.ModelProto) -> None:
    relu = nodes(model, "Relu")[-1]
    values = helper.make_tensor("one", TensorProto.FLOAT, [1], [0.5])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("at", TensorProto.INT64, [1], [0]), [1])
    constant = helper.make_node("Constant", [], ["sparse"], sparse_value=sparse)
    added = helper.make_node("Add", ["before", "sparse"], [relu.output[0]])
    after(model, relu, constant, added)


def a_constant(model: onnx.ModelProto) -> None:
    relu = nodes(model, "Relu")[-1]
    constant = helper.make_node("Constant", [], ["shift"], value_float=0.01)
    after(model, relu, constant, helper.make_node("Add", ["before", "shift"], [relu.output[0]]))


def an_almost_identity(model: onnx.ModelProto) -> None:
    relu = nodes(model, "Relu")[-1]
    constant = helper.make_node("Constant", [], ["factor"], value_float=1.0001)
    after(model, relu, constant, helper.make_node("Mul", ["before", "factor"], [relu.output[0]]))


def another_output(model: onnx.ModelProto) -> None:
    """The logits are there by their name, but they are not what the model gives."""
    name = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Neg", [name], ["other"]))
    model.graph.output[0].name = "other"


def an_output_before_the_logits(model: onnx.ModelProto) -> None:
    first = helper.make_empty_tensor_value_info(nodes(model, "Relu")[-1].output[0])
    outputs = [first, *model.graph.output]
    del model.graph.output[:]
    model.graph.output.extend(outputs)


def a_probability(model: onnx.ModelProto) -> None:
    """A Softmax at the end, over the wrong axis."""
    name = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Softmax", [name], ["probabilities"], axis=0))
    model.graph.output[0].name = "probabilities"


def another_input(model: onnx.ModelProto) -> None:
    """A second input that the model needs."""
    relu = nodes(model, "Relu")[-1]
    after(model, relu, helper.make_node("Add", ["before", "more"], [relu.output[0]]))
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def another_opset(model: onnx.ModelProto) -> None:
    """In opset 1 a batch norm takes further arguments, and others mean something else."""
    model.opset_import[0].version = 1


def a_norm_with_another_eps(model: onnx.ModelProto) -> None:
    attribute(nodes(model, "BatchNormalization")[7], "epsilon").f = 0.05


def a_norm_in_training(model: onnx.ModelProto) -> None:
    norm = nodes(model, "BatchNormalization")[7]
    norm.attribute.append(helper.make_attribute("training_mode", 1))


def weights_of_an_input(model: onnx.ModelProto) -> None:
    """What a norm takes has a weight's name, and is computed: the initializer is there, and nobody uses it."""
    norm = nodes(model, "BatchNormalization")[7]
    model.graph.node.insert(0, helper.make_node("Neg", [norm.input[1]], ["negative"]))
    norm.input[1] = "negative"


def another_order_of_arguments(model: onnx.ModelProto) -> None:
    norm = nodes(model, "BatchNormalization")[7]
    norm.input[1], norm.input[2] = norm.input[2], norm.input[1]


def a_stride_of_the_stem(model: onnx.ModelProto) -> None:
    attribute(nodes(model, "Conv")[0], "strides").ints[0] = 2


FUNCTIONS: tuple[Change, ...] = (
    another_domain, a_local_function, another_number, another_pad_by_name, a_branch, a_sparse_constant, a_constant,
    an_almost_identity, another_output, an_output_before_the_logits, a_probability, another_input, another_opset,
    a_norm_with_another_eps, a_norm_in_training, weights_of_an_input, another_order_of_arguments, a_stride_of_the_stem,
)  # fmt: skip
QUICK = (an_almost_identity, another_output, a_local_function)


# Faults of the file


def stored_twice(model: onnx.ModelProto) -> None:
    """A tensor with values of its own and a place in another file."""
    tensor = model.graph.initializer[5]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


def stored_nowhere(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[5]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


def stored_outside(model: onnx.ModelProto) -> None:
    stored_nowhere(model)
    model.graph.initializer[5].external_data[0].value = "../../etc/passwd"


def an_eps(value: float) -> Change:
    def change(model: onnx.ModelProto) -> None:
        attribute(nodes(model, "BatchNormalization")[7], "epsilon").f = value

    change.__name__ = f"an_eps_of_{value}"
    return change


def a_stride(value: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        attribute(nodes(model, "Conv")[0], "strides").ints[1] = value

    change.__name__ = f"a_stride_of_{value}"
    return change


def an_inner_stride(value: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        attribute(nodes(model, "Conv")[9], "strides").ints[1] = value

    change.__name__ = f"an_inner_stride_of_{value}"
    return change


def an_eps_of_another_kind(model: onnx.ModelProto) -> None:
    norm = nodes(model, "BatchNormalization")[7]
    norm.attribute.remove(attribute(norm, "epsilon"))
    norm.attribute.append(helper.make_attribute("epsilon", "0.001"))


def two_of_one_name(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[5])


FAULTS: tuple[Change, ...] = (
    stored_twice, stored_nowhere, stored_outside, an_eps(float("nan")), an_eps(float("inf")), an_eps(-1e-5),
    an_eps(1e6), a_stride(0), a_stride(-1), a_stride(1 << 40), an_inner_stride(0), an_inner_stride(1 << 40),
    an_eps_of_another_kind, two_of_one_name,
)  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """``x.pkl``, a file of VMZ, ``x.pth`` and ``x.onnx``, what it converts to, and a small clip."""
    folder = tmp_path_factory.mktemp("files")
    vmz_files.write(folder / "x.pkl", "ir-csn-26", seed=8)
    convert(folder / "x.pkl", folder / "x.pth", source="vmz")
    convert(folder / "x.pkl", folder / "x.onnx", source="vmz")
    np.save(folder / "clip.npy", np.random.default_rng(5).standard_normal((1, 3, 8, 24, 24), np.float32))
    return folder


def changed(files: Path, change: Change, path: Path) -> Path:
    model = onnx.load(files / "x.onnx")
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def verdict(source: Path, output: Path, files: Path) -> bool:
    """Whether verify says YES: no, too, where it refuses the pair."""
    try:
        return verify(source, output, clip=files / "clip.npy", require="functional").ok
    except ConverterError:
        return False


@pytest.mark.parametrize(
    "change",
    [pytest.param(one, marks=() if one in QUICK else pytest.mark.full, id=one.__name__) for one in FUNCTIONS],
)
def test_another_function_is_never_verified(files, change: Change, tmp_path: Path) -> None:
    path = changed(files, change, tmp_path / "changed.onnx")
    assert not verdict(files / "x.pkl", path, files)
    assert not verdict(path, files / "x.pth", files)


def test_the_same_function_is(files) -> None:
    assert verdict(files / "x.pkl", files / "x.onnx", files)
    assert verdict(files / "x.onnx", files / "x.pth", files)


@pytest.mark.parametrize("change", FAULTS, ids=lambda change: change.__name__)
def test_a_fault_of_the_file_is_exit_code_3(files, change: Change, tmp_path: Path) -> None:
    path = changed(files, change, tmp_path / "changed.onnx")
    assert main(["auto", str(path), str(tmp_path / "out.pth"), "--dry-run"]) == 3
    assert not (tmp_path / "out.pth").exists()


# Changes of what is around the function


def reversed_nodes(model: onnx.ModelProto, _folder: Path) -> None:
    """Every node stands before those whose outputs it takes."""
    order = [*model.graph.node][::-1]
    del model.graph.node[:]
    model.graph.node.extend(order)


def weights_as_inputs(model: onnx.ModelProto, _folder: Path) -> None:
    """Initializers that a caller may replace."""
    for tensor in model.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(value)


def renamed_ends(model: onnx.ModelProto, _folder: Path) -> None:
    names = {model.graph.input[0].name: "in", model.graph.output[0].name: "out"}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    model.graph.input[0].name, model.graph.output[0].name = "in", "out"


def external(shift: int, *, scaled: bool = False) -> Around:
    def change(model: onnx.ModelProto, folder: Path) -> None:
        tensor = next(one for one in model.graph.initializer if len(one.dims) == 5)
        values = numpy_helper.to_array(tensor) * np.float32(2 if scaled else 1)
        (folder / "weights.bin").write_bytes(bytes(64) + values.tobytes() + bytes(64))
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", 64 + shift), ("length", values.nbytes)):
            tensor.external_data.add(key=key, value=str(value))

    change.__name__ = f"external_at_{shift}{'_scaled' if scaled else ''}"
    return change


def a_list(kind: str, name: str, values: Sequence[int]) -> Around:
    """An attribute of other length."""

    def change(model: onnx.ModelProto, _folder: Path) -> None:
        node = nodes(model, kind)[3]
        for old in [one for one in node.attribute if one.name == name]:
            node.attribute.remove(old)
        node.attribute.append(helper.make_attribute(name, values, attr_type=AttributeProto.INTS))

    change.__name__ = f"{name}_{len(values)}"
    return change


def an_attribute_twice(model: onnx.ModelProto, _folder: Path) -> None:
    conv = next(node for node in nodes(model, "Conv") if any(attribute(node, "pads").ints))
    conv.attribute.append(helper.make_attribute("pads", [0] * 6))


def another_initializer_of_one_name(model: onnx.ModelProto, _folder: Path) -> None:
    tensor = next(one for one in model.graph.initializer if len(one.dims) == 5)
    other = numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name)
    model.graph.initializer.append(other)


def exchanged_names(model: onnx.ModelProto, _folder: Path) -> None:
    """Two weights of one shape have each other's names, and are used as before."""
    first, second = [one for one in model.graph.initializer if list(one.dims) == [64, 1, 3, 3, 3]][:2]
    names = {first.name: second.name, second.name: first.name}
    first.name, second.name = second.name, first.name
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def exchanged_uses(model: onnx.ModelProto, _folder: Path) -> None:
    first, second = [one.name for one in model.graph.initializer if list(one.dims) == [64, 1, 3, 3, 3]][:2]
    names = {first: second, second: first}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def a_shadow(model: onnx.ModelProto, _folder: Path) -> None:
    """A graph in a node has an initializer with the name of a weight outside, and takes it."""
    relu = nodes(model, "Relu")[-1]
    weight = next(one for one in model.graph.initializer if len(one.dims) == 1)
    value = helper.make_empty_tensor_value_info("inner")
    shadow = numpy_helper.from_array(np.float32([0.5]), weight.name)
    inner = helper.make_node("Mul", ["before", weight.name], ["inner"])
    graph = helper.make_graph([inner], "g", [], [value], [shadow])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    branch = helper.make_node("If", ["always"], [relu.output[0]], then_branch=graph, else_branch=graph)
    after(model, relu, branch)


def an_unused_import(model: onnx.ModelProto, _folder: Path) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def an_operator_of_another_domain(model: onnx.ModelProto, _folder: Path) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    relu = nodes(model, "Relu")[-1]
    relu.domain, relu.op_type = "com.microsoft", "QuickGelu"


def an_unused_function(model: onnx.ModelProto, _folder: Path) -> None:
    model.opset_import.append(helper.make_opsetid("own", 1))
    opset = helper.make_opsetid("", model.opset_import[0].version)
    body = [helper.make_node("Neg", ["a"], ["b"])]
    model.functions.append(helper.make_function("own", "Relu", ["a"], ["b"], body, [opset]))


def a_function_in_the_standard_domain(model: onnx.ModelProto, _folder: Path) -> None:
    """What ReLU is."""
    opset = helper.make_opsetid("", model.opset_import[0].version)
    body = [helper.make_node("Neg", ["X"], ["Y"])]
    model.functions.append(helper.make_function("", "Relu", ["X"], ["Y"], body, [opset]))


def the_standard_domain_twice(model: onnx.ModelProto, _folder: Path) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 6))


AROUND: tuple[Around, ...] = (
    reversed_nodes, weights_as_inputs, renamed_ends, external(0), external(4), external(0, scaled=True),
    a_list("Conv", "strides", [1, 1, 1, 2]), a_list("Conv", "strides", [1]), a_list("Conv", "strides", []),
    a_list("Conv", "dilations", [1, 1, 1, 1]), a_list("Conv", "pads", [0, 1, 1]), a_list("Conv", "kernel_shape", [3]),
    an_attribute_twice, another_initializer_of_one_name, exchanged_names, exchanged_uses, a_shadow, an_unused_import,
    an_operator_of_another_domain, an_unused_function, a_function_in_the_standard_domain, the_standard_domain_twice,
)  # fmt: skip


def test_a_graph_that_cannot_be_loaded_is_named(files, tmp_path: Path) -> None:
    model = onnx.load(files / "x.onnx")
    a_list("Conv", "pads", [0, 1, 1])(model, tmp_path)
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(Refused, match="cannot load the graph") as caught:
        verify(path, files / "x.pth", clip=files / "clip.npy", require="functional")
    assert caught.value.path == str(path)


def logits(path: Path, files: Path) -> np.ndarray | None:
    """What onnxruntime makes of the clip; None where it refuses the file."""
    clip = np.load(files / "clip.npy")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: clip})[0]
    except Exception:  # what it raises is not said anywhere
        return None


@pytest.mark.parametrize(
    "change",
    [pytest.param(one, marks=pytest.mark.full, id=one.__name__) for one in AROUND],
)
def test_what_is_verified_is_what_onnxruntime_computes(files, change: Around, tmp_path: Path) -> None:
    """A changed output, and a changed source with what it converts to: YES is only said where the logits are the
    first file's."""
    model = onnx.load(files / "x.onnx")
    change(model, tmp_path)
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    wanted, found = logits(files / "x.onnx", files), logits(path, files)
    same = found is not None and bool(np.allclose(found, wanted, rtol=1e-4, atol=1e-5))
    assert same or not verdict(files / "x.pkl", path, files)
    assert same or not verdict(path, files / "x.pth", files)
    try:
        convert(path, tmp_path / "out.pth")
    except ConverterError:
        return
    agrees = verdict(path, tmp_path / "out.pth", files)
    assert not agrees or (found is not None and verdict(files / "x.pkl", tmp_path / "out.pth", files) == same)
